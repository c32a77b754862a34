//! The daemon's configuration files: where they are, who may have written them, and what each line says.
//!
//! What a setting means is for the reader to know. The daemon reads all of them; the diagnosis wants to know what a daemon
//! that does not run would read.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

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

/// One line of a file.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// Which file.
    pub path: &'a Path,
    /// Which line.
    pub line: usize,
    /// What is on its left.
    pub key: &'a str,
    /// What is on its right.
    pub value: Value<'a>,
}

/// What is said about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A text, without spaces around it.
    Text(&'a str),
    /// `true` or `false`.
    Truth(bool),
    /// Something that no setting is.
    Other,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum Trouble {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is not a regular file")]
    NoFile,
    #[error("belongs to the user {0}, who could point the daemon anywhere: chown root it")]
    Owner(u32),
    #[error("others can change it (mode {0:04o}): chmod 644 it")]
    Mode(u32),
    #[error("is too large")]
    TooLarge,
    #[error("{message}")]
    Syntax { line: usize, message: String },
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
    /// The drop-ins in their order, later ones win. Hidden ones are editors' and package managers'.
    ///
    /// # Errors
    /// The directory is there, and cannot be read.
    pub fn drop_ins(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.drop_ins) {
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
}

/// Tells each line of a file, which must belong to one of these and be changed by nobody else. A file that is not there says
/// nothing.
///
/// # Errors
/// Nobody can tell what it says, or whether that is the administrator's word.
pub fn read(path: &Path, owners: &[u32], mut tell: impl FnMut(Said<'_>)) -> Result<(), Trouble> {
    let Some(text) = text(path, owners)? else { return Ok(()) };
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(&text).map_err(|error| Trouble::Syntax {
        line: line(error.span().unwrap_or_default().start),
        message: error.message().to_owned(),
    })?;
    for (key, value) in table.get_ref() {
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.trim()),
            DeValue::Boolean(truth) => Value::Truth(*truth),
            _ => Value::Other,
        };
        tell(Said { path, line: line(key.span().start), key: key.get_ref(), value });
    }
    Ok(())
}

/// The content of a file that nobody but its owner can change; `None` if there is no file.
///
/// # Errors
/// Nobody can tell what it says, or whether that is the owner's word.
pub fn text(path: &Path, owners: &[u32]) -> Result<Option<String>, Trouble> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(Trouble::NoFile);
    }
    if !owners.contains(&facts.uid()) {
        return Err(Trouble::Owner(facts.uid()));
    }
    if facts.mode() & 0o022 != 0 {
        return Err(Trouble::Mode(facts.mode() & 0o7777));
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST { Err(Trouble::TooLarge) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_told_and_mistakes_have_a_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        let us = rustix::process::geteuid().as_raw();
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let mut told = Vec::new();
            let done = read(&path, &[us], |it| told.push(format!("{}: {} {:?}", it.line, it.key, it.value)));
            (told, done.map_err(|error| error.to_string()))
        };
        assert_eq!(
            told("# x\na = ' b '\n\nc = true\nd = 7\n"),
            (["2: a Text(\"b\")", "4: c Truth(true)", "5: d Other"].map(str::to_owned).into(), Ok(()))
        );
        fs::write(&path, "a = 'b'\nc =\n").unwrap();
        assert!(matches!(read(&path, &[us], |_| ()), Err(Trouble::Syntax { line: 2, .. })));
        assert!(matches!(read(&path, &[us + 1], |_| ()), Err(Trouble::Owner(owner)) if owner == us));
        assert!(matches!(read(directory.path(), &[us], |_| ()), Err(Trouble::NoFile)));
        assert!(read(&directory.path().join("b.toml"), &[us], |_| panic!("nothing is there")).is_ok());
    }
}
