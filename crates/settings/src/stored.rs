//! What is changed over the bus, in a file of the daemon's own.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{Config, setting, values::Source};

/// Why a setting cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Unchangeable {
    /// There is none with this key.
    #[error("there is no setting {0:?}")]
    Unknown(String),
    /// It is not for users.
    #[error("{0} can only be set by the administrator, in a file")]
    Administrators(&'static str),
    /// The administrator has set it.
    #[error("{key} is locked: it is set by {source_of_lock}")]
    Locked {
        /// Which setting.
        key: &'static str,
        /// Where the administrator has set it.
        source_of_lock: Source,
    },
    /// The value is none.
    #[error("{key} {what}")]
    Invalid {
        /// Which setting.
        key: &'static str,
        /// What is wrong, in words that follow the key.
        what: String,
    },
    /// It cannot be kept.
    #[error("cannot keep the settings")]
    Io(#[from] io::Error),
}

/// Changes settings and keeps them for the next start: all of them or none. `None` makes one as if nobody had changed it.
/// `config` is what the daemon was told last; load it anew afterwards.
pub fn change(config: &Config, path: &Path, changes: &BTreeMap<String, Option<String>>) -> Result<(), Unchangeable> {
    let mut kept: BTreeMap<&str, &str> = config
        .values
        .iter()
        .filter(|(_, told)| matches!(told.source, Source::Stored { .. }))
        .map(|(key, told)| (*key, told.text.as_str()))
        .collect();
    for (key, text) in changes {
        let setting = setting::find(key).ok_or_else(|| Unchangeable::Unknown(key.clone()))?;
        if setting.change == setting::Change::Never {
            return Err(Unchangeable::Administrators(setting.key));
        }
        if let Some(told) = config.values.get(setting.key).filter(|told| told.source.locks()) {
            return Err(Unchangeable::Locked { key: setting.key, source_of_lock: told.source.clone() });
        }
        match text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => {
                setting.kind.check(text).map_err(|what| Unchangeable::Invalid { key: setting.key, what })?;
                kept.insert(setting.key, text);
            }
            None => {
                kept.remove(setting.key);
            }
        }
    }
    Ok(write(path, &kept)?)
}

/// Replaces the file as a whole: a draft, its way to the disk, the rename, and its way to the disk.
fn write(path: &Path, kept: &BTreeMap<&str, &str>) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let draft = path.with_extension("toml.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
    writeln!(file, "# What was changed over the bus. Files below /etc/dev.firezone.client win over it.")?;
    for (key, text) in kept {
        // Values have no control characters; for everything else JSON and TOML agree about texts.
        writeln!(file, "{key} = {}", serde_json::to_string(text)?)?;
    }
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}
