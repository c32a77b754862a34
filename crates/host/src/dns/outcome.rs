//! Result of writing `/etc/resolv.conf`, by the daemon itself or by its helper.

use std::io;

/// What happened to the live file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The file already had the desired content.
    Unchanged,
    Written,
    /// Our lines were removed, but there was no original to restore.
    BackupMissing,
}

/// Why the file could not be configured or reverted.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("read resolv.conf: {0}")]
    Read(#[source] io::Error),
    #[error("write the backup of resolv.conf: {0}")]
    Backup(#[source] io::Error),
    #[error("write resolv.conf: {0}")]
    Write(#[source] io::Error),
    /// The file is immutable, or on a read-only file system.
    #[error("resolv.conf cannot be written")]
    ReadOnly,
    #[error("the helper that writes resolv.conf does not answer: {0}")]
    Helper(#[source] io::Error),
    #[error("the helper that writes resolv.conf says: {0}")]
    HelperRefused(String),
}

impl FileError {
    /// The blocking task that wrote the file has panicked.
    pub(super) fn task_failed<T>(error: tokio::task::JoinError) -> Result<T, Self> {
        Err(Self::Write(io::Error::other(error)))
    }

    /// Whether the file is write-protected, so that retrying is pointless until its protection changes.
    pub(super) fn is_read_only(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::Write(error) => matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem),
            Self::ReadOnly => true,
            _ => false,
        }
    }
}
