//! Values of settings: text, source, and problems.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// The values of all settings that have one, by key.
pub(crate) type Values = BTreeMap<&'static str, ConfiguredValue>;

/// The value of one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ConfiguredValue {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// The source of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The command line, with this flag.
    Argument(&'static str),
    /// The environment, with this variable.
    Variable(&'static str),
    /// A file of the administrator.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// The bus; stored in a file of the daemon.
    Stored {
        /// Path of the file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// This file of the official client.
    Imported(PathBuf),
}

/// An invalid value, and where it is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub(crate) place: String,
    pub(crate) key: Option<String>,
    pub(crate) what: String,
}

impl Source {
    pub(crate) fn file(path: &Path, line: usize) -> Self {
        Self::File { path: path.to_owned(), line }
    }

    pub(crate) fn stored(path: &Path, line: usize) -> Self {
        Self::Stored { path: path.to_owned(), line }
    }

    /// Whether the value was set by an administrator, so that it cannot be changed over the bus.
    pub(crate) fn locks(&self) -> bool {
        !matches!(self, Self::Stored { .. } | Self::Imported(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) | Self::Variable(name) => f.write_str(name),
            Self::File { path, line } | Self::Stored { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Imported(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Problem {
    pub(crate) fn new(place: Source, key: Option<&str>, what: String) -> Self {
        Self { place: place.to_string(), key: key.map(str::to_owned), what }
    }

    pub(crate) fn of_file(path: &Path, what: String) -> Self {
        Self { place: path.display().to_string(), key: None, what }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}
