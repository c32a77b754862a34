//! Changes over the bus, stored in a file of the daemon.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{config::Config, setting, values::Source};

/// Why a setting cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no setting with this key.
    #[error("there is no setting {0:?}")]
    UnknownKey(String),
    /// The setting cannot be changed over the bus.
    #[error("{0} can only be set by the administrator, in a file")]
    AdministratorOnly(&'static str),
    /// The administrator has set it.
    #[error("{key} is locked: it is set by {source_of_lock}")]
    Locked {
        /// The key of the setting.
        key: &'static str,
        /// The place of its value.
        source_of_lock: Source,
    },
    /// The value is invalid.
    #[error("{key} {what}")]
    Invalid {
        /// The key of the setting.
        key: &'static str,
        /// The problem, as the rest of a sentence that starts with the key.
        what: String,
    },
    /// The file cannot be written.
    #[error("cannot keep the settings")]
    Io(#[from] io::Error),
}

/// Changes and stores all of these settings or none. `None` resets a setting. `config` is the current configuration; load it
/// again afterwards.
///
/// # Errors
/// A setting cannot be changed, or the file cannot be written.
pub fn change(config: &Config, path: &Path, changes: &BTreeMap<String, Option<String>>) -> Result<(), ChangeError> {
    let mut stored: BTreeMap<&str, &str> = config
        .values
        .iter()
        .filter(|(_, value)| matches!(value.source, Source::Stored { .. }))
        .map(|(key, value)| (*key, value.text.as_str()))
        .collect();
    for (key, text) in changes {
        let setting = setting::find(key).ok_or_else(|| ChangeError::UnknownKey(key.clone()))?;
        if setting.change == setting::Change::Never {
            return Err(ChangeError::AdministratorOnly(setting.key));
        }
        if let Some(value) = config.values.get(setting.key).filter(|value| value.source.locks()) {
            return Err(ChangeError::Locked { key: setting.key, source_of_lock: value.source.clone() });
        }
        match text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => {
                setting.kind.check(text).map_err(|what| ChangeError::Invalid { key: setting.key, what })?;
                stored.insert(setting.key, text);
            }
            None => {
                stored.remove(setting.key);
            }
        }
    }
    Ok(write(path, &stored)?)
}

/// Replaces the file atomically: writes and syncs a draft, renames it, and syncs the directory.
fn write(path: &Path, stored: &BTreeMap<&str, &str>) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("toml.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
    writeln!(file, "# What was changed over the bus. Files below /etc/dev.firezone.client win over it.")?;
    for (key, text) in stored {
        // Values have no control characters; apart from these, strings of JSON and TOML are the same.
        writeln!(file, "{key} = {}", serde_json::to_string(text)?)?;
    }
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}
