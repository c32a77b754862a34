//! Reads the token from the environment and removes it there.

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

/// What the environment contains about tokens.
#[derive(Debug, Default)]
pub struct Environment {
    /// `FIREZONE_TOKEN`.
    pub(super) token: Variable,
    /// The configured file.
    pub(super) path: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`.
    pub(super) credentials: Option<PathBuf>,
    /// Whether this process runs in a container.
    pub(super) is_container: bool,
}

/// The state of the variable with the token.
#[derive(Debug, Default)]
pub(super) enum Variable {
    #[default]
    Absent,
    /// Only whitespace, as Docker and systemd often set.
    Empty,
    /// Not UTF-8.
    NotText,
    /// Trimmed.
    Text(Secret),
}

/// Removes the token from the environment, so that neither child processes nor `/proc` expose it.
///
/// Must be called first in `main`, before any thread is started, because all threads share the environment.
#[must_use]
pub fn take_from_env() -> Environment {
    let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let is_container = container::is_present();
    Environment { token: take(), path: None, credentials: path("CREDENTIALS_DIRECTORY"), is_container }
}

impl Environment {
    /// Whether this process runs in a container.
    #[must_use]
    pub fn is_container(&self) -> bool {
        self.is_container
    }

    /// The file that contains the token.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(settings::TOKEN_PATH))
    }

    /// With the configured file, if there is one.
    #[must_use]
    pub fn with_path(self, path: Option<PathBuf>) -> Self {
        Self { path, ..self }
    }
}

fn take() -> Variable {
    let Ok(name) = TOKEN.to_str() else { return Variable::Absent };
    let Some(value) = env::var_os(name) else { return Variable::Absent };
    // SAFETY: the caller guarantees that there is no other thread which could read or change the environment. `getenv` returns
    // null or a string that is valid until the variable is changed, which happens below. It is writable memory of this
    // process, and only the bytes up to its terminating zero are written.
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

    /// Runs only the test below in another process of this test binary, because this process has many threads.
    fn run_in_own_process(token: &str) -> String {
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
    fn token_is_removed_from_the_environment_proc_and_children() {
        let output = run_in_own_process(" s3cr3t! ");
        assert!(output.contains("got=true environ=false child=false std=false"), "{output}");
    }

    #[test]
    fn blank_variable_is_empty() {
        assert!(matches!(Variable::from(""), Variable::Empty));
        assert!(matches!(Variable::from(" \r\n\t"), Variable::Empty));
    }
}
