//! The daemon's configuration files: their paths, the check of owner and mode, and their entries.
//!
//! This crate does not know the settings. The daemon reads all files; the diagnosis reads them to find out which
//! configuration a stopped daemon would use.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

/// Larger than any file that is written by hand.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The paths of the files, and their required owner.
#[derive(Clone, Debug)]
pub struct ConfigPaths {
    /// The administrator's file.
    pub main: PathBuf,
    /// The directory of drop-ins of the administrator and of packages; they override the main file.
    pub drop_ins: PathBuf,
    /// Settings changed over D-Bus; the administrator's files override them.
    pub stored: PathBuf,
    /// Settings of the official client; all other files override them.
    pub imported: PathBuf,
    /// The user id that must own the files. Only the owner may be able to change them.
    pub owner: u32,
}

/// One entry of a file.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The file.
    pub path: &'a Path,
    /// The line, starting at 1.
    pub line: usize,
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: Value<'a>,
}

/// The value of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A string, without surrounding whitespace.
    Text(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// A type that no setting has.
    Other,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages describe the variants")]
pub enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is not a regular file")]
    NotARegularFile,
    #[error("belongs to the user {0}, who could point the daemon anywhere: chown root it")]
    Owner(u32),
    #[error("others can change it (mode {0:04o}): chmod 644 it")]
    Mode(u32),
    #[error("is too large")]
    TooLarge,
    #[error("{message}")]
    Syntax { line: usize, message: String },
}

impl Default for ConfigPaths {
    fn default() -> Self {
        Self {
            main: PathBuf::from("/etc/dev.firezone.client/firezoned.toml"),
            drop_ins: PathBuf::from("/etc/dev.firezone.client/firezoned.toml.d"),
            stored: PathBuf::from("/var/lib/dev.firezone.client/settings.toml"),
            imported: PathBuf::from("/var/lib/dev.firezone.client/config/advanced_settings.json"),
            owner: 0,
        }
    }
}

impl ConfigPaths {
    /// The paths of the drop-ins in their order; later ones override earlier ones. Hidden files, such as those of editors
    /// and package managers, are skipped.
    ///
    /// # Errors
    /// The directory exists and cannot be read.
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

/// Calls `handle` for each entry of a file. The file must belong to one of `owners`, and other users must not be able to
/// change it. A missing file has no entries.
///
/// # Errors
/// See [`FileError`].
pub fn read(path: &Path, owners: &[u32], mut handle: impl FnMut(Entry<'_>)) -> Result<(), FileError> {
    let Some(text) = read_text(path, owners)? else { return Ok(()) };
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(&text).map_err(|error| FileError::Syntax {
        line: line(error.span().unwrap_or_default().start),
        message: error.message().to_owned(),
    })?;
    for (key, value) in table.get_ref() {
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.trim()),
            DeValue::Boolean(value) => Value::Bool(*value),
            _ => Value::Other,
        };
        handle(Entry { path, line: line(key.span().start), key: key.get_ref(), value });
    }
    Ok(())
}

/// The content of a file that only its owner, one of `owners`, can change; `None` if the file does not exist.
///
/// # Errors
/// See [`FileError`].
pub fn read_text(path: &Path, owners: &[u32]) -> Result<Option<String>, FileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotARegularFile);
    }
    if !owners.contains(&metadata.uid()) {
        return Err(FileError::Owner(metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(FileError::Mode(metadata.mode() & 0o7777));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES { Err(FileError::TooLarge) } else { Ok(Some(text)) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn entries_and_errors_have_line_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        let us = rustix::process::geteuid().as_raw();
        let entries = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let mut entries = Vec::new();
            let result = read(&path, &[us], |it| entries.push(format!("{}: {} {:?}", it.line, it.key, it.value)));
            (entries, result.map_err(|error| error.to_string()))
        };
        assert_eq!(
            entries("# x\na = ' b '\n\nc = true\nd = 7\n"),
            (["2: a Text(\"b\")", "4: c Bool(true)", "5: d Other"].map(str::to_owned).into(), Ok(()))
        );
        fs::write(&path, "a = 'b'\nc =\n").unwrap();
        assert!(matches!(read(&path, &[us], |_| ()), Err(FileError::Syntax { line: 2, .. })));
        assert!(matches!(read(&path, &[us + 1], |_| ()), Err(FileError::Owner(owner)) if owner == us));
        assert!(matches!(read(directory.path(), &[us], |_| ()), Err(FileError::NotARegularFile)));
        assert!(read(&directory.path().join("b.toml"), &[us], |_| panic!("the file does not exist")).is_ok());
    }
}
