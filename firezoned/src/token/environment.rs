//! What the environment says about tokens, and its removal from there.

#![allow(unsafe_code, reason = "the environment is process-wide memory that only unsafe functions may change")]

use std::{
    env,
    ffi::{CStr, OsString},
    path::{Path, PathBuf},
};

use model::Secret;

use crate::container;

/// The variable with the token.
const TOKEN: &CStr = c"FIREZONE_TOKEN";

/// What the environment said.
#[derive(Debug, Default)]
pub struct Environment {
    /// `FIREZONE_TOKEN`.
    pub(super) token: Variable,
    /// The file that was configured.
    pub(super) path: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`.
    pub(super) credentials: Option<PathBuf>,
    /// Whether this is the inside of a container.
    pub(super) is_container: bool,
}

/// The state of the variable with the token.
#[derive(Debug, Default)]
pub(super) enum Variable {
    #[default]
    Absent,
    /// Nothing but whitespace. Docker and systemd set such variables routinely.
    Empty,
    /// Not UTF-8.
    NotText,
    /// Trimmed.
    Text(Secret),
}

/// Takes the token out of the environment, so that neither child processes nor `/proc` show it.
///
/// To be called first in `main`, before any thread exists: the environment belongs to all threads at once.
#[must_use]
pub fn take_from_env() -> Environment {
    let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let is_container = container::is_around_us();
    Environment { token: take(), path: None, credentials: path("CREDENTIALS_DIRECTORY"), is_container }
}

impl Environment {
    /// Whether this is the inside of a container.
    #[must_use]
    pub fn is_container(&self) -> bool {
        self.is_container
    }

    /// The file that would be read.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(settings::TOKEN_PATH))
    }

    /// With the file that was configured, if one was.
    #[must_use]
    pub fn with_path(self, path: Option<PathBuf>) -> Self {
        Self { path, ..self }
    }
}

fn take() -> Variable {
    let Ok(name) = TOKEN.to_str() else { return Variable::Absent };
    let Some(value) = env::var_os(name) else { return Variable::Absent };
    // SAFETY: our caller guarantees that there is no other thread, so nobody reads or changes the environment meanwhile.
    // `getenv` returns null or a string that lives until the variable is changed, which happens below; it is our own
    // process's writable memory, and we write only up to its terminating zero.
    unsafe {
        let value = libc::getenv(TOKEN.as_ptr());
        if !value.is_null() {
            let length = libc::strlen(value);
            for offset in 0..length {
                value.add(offset).write_volatile(0);
            }
        }
        env::remove_var(name);
    }
    Variable::from(value)
}

impl From<OsString> for Variable {
    fn from(value: OsString) -> Self {
        value.into_string().map_or(Self::NotText, |text| Self::from(zeroize::Zeroizing::new(text).as_str()))
    }
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        match text.trim() {
            "" => Self::Empty,
            token => Self::Text(token.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs this test binary again with only the test below, because the environment of a test process has many threads.
    fn again(token: &str) -> String {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "token::environment::tests::taken", "--nocapture", "--test-threads=1", "--ignored"])
            .env("FIREZONE_TOKEN", token)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    #[ignore = "is run by the test below in a process of its own"]
    fn taken() {
        let environment = take_from_env();
        let mine = std::fs::read("/proc/self/environ").unwrap();
        let child = Command::new("env").output().unwrap().stdout;
        let has = |bytes: &[u8]| bytes.windows(7).any(|window| window == b"s3cr3t!");
        println!(
            "got={} environ={} child={} std={}",
            matches!(&environment.token, Variable::Text(token) if token.expose() == "s3cr3t!"),
            has(&mine),
            has(&child),
            env::var_os("FIREZONE_TOKEN").is_some(),
        );
    }

    #[test]
    fn a_taken_token_is_gone_from_the_environment_from_proc_and_for_children() {
        let output = again(" s3cr3t! ");
        assert!(output.contains("got=true environ=false child=false std=false"), "{output}");
    }

    #[test]
    fn blank_variables_are_empty() {
        assert!(matches!(Variable::from(""), Variable::Empty));
        assert!(matches!(Variable::from(" \r\n\t"), Variable::Empty));
    }
}
