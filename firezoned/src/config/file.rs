//! Settings in files: `firezoned.toml`, the drop-ins beside it, and what was changed over the bus.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{Mistake, Source, Told, Values, inherited, setting};

/// Nobody writes more by hand.
const LARGEST: u64 = 1 << 20;

/// Where the files are, and who may have written them.
#[derive(Clone, Debug)]
pub struct Places {
    /// The administrator's file.
    pub main: PathBuf,
    /// The directory with the administrator's and packages' additions, which win over the file.
    pub drop_ins: PathBuf,
    /// What was changed over the bus; the administrator's files win over it.
    pub stored: PathBuf,
    /// What the client that was here before was told; everything else wins over it.
    pub inherited: PathBuf,
    /// Whose the files must be; nobody else may be able to change them.
    pub owner: u32,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            main: PathBuf::from("/etc/dev.firezone.client/firezoned.toml"),
            drop_ins: PathBuf::from("/etc/dev.firezone.client/firezoned.toml.d"),
            stored: PathBuf::from("/var/lib/dev.firezone.client/settings.toml"),
            inherited: PathBuf::from("/var/lib/dev.firezone.client/config/advanced_settings.json"),
            owner: 0,
        }
    }
}

impl Places {
    /// Reads all files, the weakest first, so that later ones win.
    pub(super) fn read(&self, values: &mut Values, mistakes: &mut Vec<Mistake>) {
        // The daemon itself writes into this directory, and was given what it has found there.
        let owners = [self.owner, rustix::process::geteuid().as_raw()];
        inherited::read(&self.inherited, &owners, values);
        read(&self.stored, &owners, Source::stored, values, mistakes);
        read(&self.main, &[self.owner], Source::file, values, mistakes);
        match drop_ins(&self.drop_ins) {
            Ok(paths) => paths.iter().for_each(|path| read(path, &[self.owner], Source::file, values, mistakes)),
            Err(error) => mistakes.push(Mistake::of_file(&self.drop_ins, format!("cannot be read: {error}"))),
        }
    }
}

/// The files of the directory by name, as far as they are meant for us. Hidden ones are editors' and package managers'.
fn drop_ins(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(
    path: &Path,
    owners: &[u32],
    source: fn(&Path, usize) -> Source,
    values: &mut Values,
    mistakes: &mut Vec<Mistake>,
) {
    let text = match text(path, owners) {
        Ok(Some(text)) => text,
        Ok(None) => return,
        Err(what) => return mistakes.push(Mistake::of_file(path, what)),
    };
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = match DeTable::parse(&text) {
        Ok(table) => table,
        Err(error) => {
            let place = source(path, line(error.span().unwrap_or_default().start));
            return mistakes.push(Mistake::new(place, None, error.message().to_owned()));
        }
    };
    for (key, value) in table.get_ref() {
        let place = source(path, line(key.span().start));
        match understand(key.get_ref(), value.get_ref()) {
            Ok((setting, text)) if text.is_empty() => {
                // As if nobody had said anything so far.
                values.remove(setting.key);
            }
            Ok((setting, text)) => {
                values.insert(setting.key, Told { text, source: place });
            }
            Err(what) => mistakes.push(Mistake::new(place, Some(key.get_ref()), what)),
        }
    }
}

fn understand(key: &str, value: &DeValue<'_>) -> Result<(&'static setting::Setting, String), String> {
    if key == "token" {
        return Err("a token has no place here: put it into a file of its own, which only root may read".to_owned());
    }
    let Some(setting) = setting::find(key) else {
        let keys: Vec<&str> = setting::SETTINGS.iter().map(|setting| setting.key).collect();
        return Err(format!("there is no such setting (there are: {})", keys.join(", ")));
    };
    let text = match value {
        DeValue::String(text) => text.trim().to_owned(),
        DeValue::Boolean(truth) if setting.kind == setting::Kind::Truth => truth.to_string(),
        _ if setting.kind == setting::Kind::Truth => return Err("must be true or false".to_owned()),
        _ => return Err("must be a text in quotation marks".to_owned()),
    };
    if !text.is_empty() {
        setting.kind.check(&text)?;
    }
    Ok((setting, text))
}

/// The content of a file that nobody but its owner can change; `None` if there is no file.
pub(super) fn text(path: &Path, owners: &[u32]) -> Result<Option<String>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(unreadable)?,
    };
    let facts = file.metadata().map_err(unreadable)?;
    if !facts.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if !owners.contains(&facts.uid()) {
        return Err(format!("belongs to the user {}, who could point the daemon anywhere: chown root it", facts.uid()));
    }
    if facts.mode() & 0o022 != 0 {
        return Err(format!("others can change it (mode {:04o}): chmod 644 it", facts.mode() & 0o7777));
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST { Err("is too large".to_owned()) } else { Ok(Some(text)) }
}
