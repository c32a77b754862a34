//! Where a daemon that does not run would look for the portal, as far as the caller may read what it is told.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use ::portal::ApiUrl;
use config_file::{ConfigPaths, FileError, Value};

use crate::unit::Unit;

/// The setting in a file.
const KEY: &str = "api-url";
/// The same in the environment, and on the command line.
const VARIABLE: &str = "FIREZONE_API_URL";
const FLAG: &str = "--api-url";
/// What the unit reads, unless systemd says otherwise.
const ENVIRONMENT_FILES: [&str; 2] = ["/etc/default/firezone-client-tunnel", "/etc/default/firezone-client"];

/// Where the portal is said to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) url: String,
    /// By whom; empty for the default.
    pub(crate) by: String,
    /// What the caller may not read.
    pub(crate) unread: Vec<String>,
    /// What keeps the daemon from starting.
    pub(crate) mistake: Option<String>,
}

impl Said {
    /// Asks whoever the daemon would ask, the weakest first. `own` is the variable of this process: where people start the
    /// daemon by hand, or containers do, both have the same.
    pub(crate) fn read(root: &Path, owner: u32, unit: Option<&Unit>, own: Option<String>) -> Self {
        let mut said = Self { url: ApiUrl::DEFAULT.to_owned(), by: String::new(), unread: Vec::new(), mistake: None };
        let places = places(root, owner);
        let unread = said.inherited(&places.imported, owner);
        said.files(&places);
        for line in unit.iter().flat_map(|it| &it.environment) {
            said.variable(line, "the unit firezone-client");
        }
        let files = unit.and_then(|it| it.environment_files.clone());
        for path in files.unwrap_or_else(|| ENVIRONMENT_FILES.map(str::to_owned).into()) {
            said.environment_file(root, &path);
        }
        let mut words = unit.iter().flat_map(|it| &it.arguments);
        while let Some(word) = words.next() {
            let value = if word == FLAG { words.next().map(String::as_str) } else { word.strip_prefix("--api-url=") };
            if let Some(url) = value {
                said.is(url, FLAG);
            }
        }
        if let Some(url) = own {
            said.is(&url, VARIABLE);
        }
        // Everybody else wins over it.
        if said.by.is_empty() {
            said.unread.extend(unread);
        }
        said
    }

    fn is(&mut self, url: &str, by: &str) {
        let url = url.trim();
        // An empty variable is one that is not set.
        if !url.is_empty() {
            (self.url, self.by) = (url.to_owned(), by.to_owned());
        }
    }

    /// What the client that was here before was told, as the daemon reads it. Returns the file if it may be there, and is not
    /// for the caller.
    fn inherited(&mut self, path: &Path, owner: u32) -> Option<String> {
        // The state directory is the daemon's, and with it what was found there.
        let state = path.parent().and_then(Path::parent).and_then(|it| fs::metadata(it).ok());
        let owners = [owner, state.map_or(owner, |it| it.uid())];
        let text = match config_file::read_text(path, &owners) {
            Ok(text) => text?,
            Err(FileError::Unreadable(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(path.display().to_string());
            }
            Err(_) => return None,
        };
        let told: serde_json::Value = serde_json::from_str(&text).ok()?;
        // All of it together, or nothing.
        let is_whole = ["auth_url", "log_filter"].iter().all(|key| told[*key].is_string());
        if let Some(url) = told["api_url"].as_str()
            && is_whole
            && url.parse::<ApiUrl>().is_ok()
            && url != ApiUrl::DEFAULT
        {
            self.is(url, &path.display().to_string());
        }
        None
    }

    fn files(&mut self, places: &ConfigPaths) {
        self.file(&places.main, places.owner);
        match places.drop_ins() {
            Ok(paths) => paths.iter().for_each(|path| self.file(path, places.owner)),
            Err(error) => self.trouble(&places.drop_ins, error.into()),
        }
    }

    fn file(&mut self, path: &Path, owner: u32) {
        let mut said = None;
        let read = config_file::read(path, &[owner], |it| {
            if it.key == KEY {
                said = Some(match it.value {
                    Value::Text(url) => Ok((url.to_owned(), format!("{}:{}", path.display(), it.line))),
                    Value::Bool(_) | Value::Other => Err(it.line),
                });
            }
        });
        match said {
            // As if nobody had said anything so far.
            Some(Ok((url, _))) if url.is_empty() => {
                (self.url, self.by) = (ApiUrl::DEFAULT.to_owned(), String::new());
            }
            Some(Ok((url, by))) => (self.url, self.by) = (url, by),
            Some(Err(line)) => self.wrong(path, &format!(":{line}"), "must be a text in quotation marks"),
            None => {}
        }
        if let Err(trouble) = read {
            self.trouble(path, trouble);
        }
    }

    fn trouble(&mut self, path: &Path, trouble: FileError) {
        match trouble {
            FileError::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unread.push(path.display().to_string());
            }
            FileError::Syntax { line, message } => self.wrong(path, &format!(":{line}"), &message),
            trouble => self.wrong(path, "", &trouble.to_string()),
        }
    }

    /// The first mistake is the one that is told.
    fn wrong(&mut self, path: &Path, place: &str, what: &str) {
        self.mistake.get_or_insert_with(|| format!("{}{place}: {what}", path.display()));
    }

    /// A file of variables, systemd.exec(5).
    fn environment_file(&mut self, root: &Path, path: &str) {
        let path = below(root, Path::new(path));
        match fs::read_to_string(&path) {
            Ok(text) => {
                let by = path.display().to_string();
                text.lines().for_each(|line| self.variable(line.trim(), &by));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unread.push(path.display().to_string());
            }
            // What is not there says nothing.
            Err(_) => {}
        }
    }

    fn variable(&mut self, line: &str, by: &str) {
        let value = line.strip_prefix(VARIABLE).and_then(|rest| rest.trim_start().strip_prefix('='));
        if let Some(value) = value {
            self.is(value.trim().trim_matches(['"', '\'']), by);
        }
    }
}

fn places(root: &Path, owner: u32) -> ConfigPaths {
    let ConfigPaths { main, drop_ins, stored, imported, .. } = ConfigPaths::default();
    let [main, drop_ins, stored, imported] = [main, drop_ins, stored, imported].map(|it| below(root, &it));
    ConfigPaths { main, drop_ins, stored, imported, owner }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
