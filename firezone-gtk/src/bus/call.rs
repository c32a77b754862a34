//! Calls of the daemon: each with a timeout, and with the errors that the app tells apart.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use dbus_api::{DiagnosticsProxy, Error, Mode, Phase, Reason, State, StatusFile, status_file};
use rustix::{fs::MemfdFlags, pipe::PipeFlags};

use super::message::Failure;
use crate::model::Update;

/// Timeout of a call. The daemon has to ask polkit, but polkit asks no user.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// The most that fits into a pipe before it is read. Tokens are far shorter.
const MAX_TOKEN_BYTES: usize = 60 * 1024;
/// Limit of a report. Reports are far shorter.
const MAX_REPORT_BYTES: u64 = 8 << 20;

/// Waits for the answer of a call.
pub(super) async fn with_timeout<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
    answer.map_err(|_| Failure::NotRunning)?.map_err(|error| match error {
        Error::NotAuthorized(_) => Failure::NotPermitted,
        Error::InvalidToken(_) => Failure::TokenRejected,
        Error::InvalidArgs(text) => Failure::Invalid(text),
        Error::Locked(text) => Failure::Locked(text),
        Error::Stopping(_) => Failure::NotRunning,
        Error::ZBus(zbus::Error::MethodError(name, ..))
            if matches!(
                name.as_str(),
                "org.freedesktop.DBus.Error.ServiceUnknown"
                    | "org.freedesktop.DBus.Error.NameHasNoOwner"
                    | "org.freedesktop.DBus.Error.NoReply"
            ) =>
        {
            Failure::NotRunning
        }
        other => Failure::Other(other.to_string()),
    })
}

/// The read end of a pipe that contains the token.
pub(super) fn token_pipe(token: &str) -> Result<OwnedFd, Failure> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Failure::TokenRejected);
    }
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    File::from(write).write_all(token.as_bytes()).map_err(failed)?;
    Ok(read)
}

/// Has the daemon write a report into a memfd, and reads it.
pub(super) async fn collect_report(daemon: &DiagnosticsProxy<'_>) -> Result<String, Failure> {
    let memory = rustix::fs::memfd_create(c"firezone-report", MemfdFlags::CLOEXEC).map_err(|it| failed(it.into()))?;
    let for_daemon: OwnedFd = memory.try_clone().map_err(failed)?;
    with_timeout(daemon.collect(for_daemon.into(), BTreeMap::new())).await?;
    let mut file = File::from(memory);
    file.rewind().map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_REPORT_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn failed(error: io::Error) -> Failure {
    Failure::Other(error.to_string())
}

/// The phase that the properties `State` and `Reason` stand for.
pub(super) fn phase(state: &State, reason: &str) -> Phase {
    Phase::new(state, Reason::published(reason).as_ref())
}

/// The state of a daemon that is not on the bus: in service mode it writes a status file.
pub(super) fn read_status_file() -> Update {
    match fs::read(status_file::PATH) {
        Ok(text) => match serde_json::from_slice::<StatusFile>(&text) {
            Ok(file) if file.mode == Mode::Service && Path::new("/proc").join(file.pid.to_string()).exists() => {
                Update::ServiceMode(file.status.phase())
            }
            _ => Update::NotRunning,
        },
        // The file exists, but this user may not read it. The daemon removes it when it stops.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Update::ServiceMode(Phase::Other { state: String::new(), reason: None })
        }
        Err(_) => Update::NotRunning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipe_contains_the_whole_token_and_rejects_long_ones() {
        let mut text = String::new();
        File::from(token_pipe("nonce.fragment").unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "nonce.fragment");
        assert!(token_pipe(&"x".repeat(MAX_TOKEN_BYTES + 1)).is_err());
    }
}
