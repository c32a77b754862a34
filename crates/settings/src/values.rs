//! What was said about settings: the text, who said it and where, and what is wrong with it.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// What was said about each setting about which something was said.
pub(crate) type Values = BTreeMap<&'static str, Told>;

/// What was said about one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// Who said something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The command line, with this flag.
    Argument(&'static str),
    /// The environment, with this variable.
    Variable(&'static str),
    /// A file of the administrator.
    File {
        /// Which one.
        path: PathBuf,
        /// In which line.
        line: usize,
    },
    /// Somebody over the bus.
    Stored {
        /// Where it is kept.
        path: PathBuf,
        /// In which line.
        line: usize,
    },
    /// The client that was here before, in this file of its own.
    Inherited(PathBuf),
}

/// Something that makes no sense, and where it was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
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

    /// Whether this is the administrator's word.
    #[must_use]
    pub fn locks(&self) -> bool {
        !matches!(self, Self::Stored { .. } | Self::Inherited(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) | Self::Variable(name) => f.write_str(name),
            Self::File { path, line } | Self::Stored { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Inherited(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Mistake {
    pub(crate) fn new(place: Source, key: Option<&str>, what: String) -> Self {
        Self { place: place.to_string(), key: key.map(str::to_owned), what }
    }

    pub(crate) fn of_file(path: &Path, what: String) -> Self {
        Self { place: path.display().to_string(), key: None, what }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}
