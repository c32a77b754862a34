//! What may we be? A token in the environment or in a file makes this a service; otherwise people sign in.
//!
//! The order: `FIREZONE_TOKEN`; the credential `token` that systemd passed; the file that is configured, else
//! `/etc/dev.firezone.client/token`. Whatever exists must be good: a token that cannot be used is an error and never a reason
//! to let people sign in instead. Tokens are read here, never written.

mod environment;
mod file;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use model::Secret;

use self::{environment::Variable, file::Trust};
pub use self::{
    environment::{Environment, take_from_env},
    file::Problem,
};

/// What systemd calls the token that it passes by `LoadCredential=token:…`.
const CREDENTIAL: &str = "token";

/// Whose token it is that we use.
#[derive(Debug)]
pub enum Mode {
    /// The machine's own: nobody may sign in or out, even if the portal refuses it.
    Service(Secret),
    /// None yet: people bring theirs.
    User,
}

/// There is a token, but it must not or cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct TokenError {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it, and what to do.
    pub problem: Problem,
}

/// Where a token can be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the variable `FIREZONE_TOKEN`.
    Environment,
    /// In this file.
    File(PathBuf),
}

/// Looks for a token. Called again on SIGHUP, when the file may be another one.
pub fn find(environment: &Environment) -> Result<Mode, TokenError> {
    find_with(environment, Path::new(settings::TOKEN_PATH), Trust::root())
}

fn find_with(environment: &Environment, default: &Path, trust: Trust) -> Result<Mode, TokenError> {
    match &environment.token {
        Variable::Absent => {}
        Variable::Empty => tracing::warn!("FIREZONE_TOKEN is empty and counts as not set"),
        Variable::NotText => return Err(TokenError { place: Place::Environment, problem: Problem::NotText }),
        Variable::Text(token) => {
            return Ok(Mode::Service(match token_file(token, environment.is_container) {
                Some(path) => read(&path, Trust::Everyone)?.ok_or_else(|| vanished(path))?,
                None => token.clone(),
            }));
        }
    }
    let path = environment.path.as_deref().unwrap_or(default);
    if let Some(directory) = &environment.credentials {
        match read(&directory.join(CREDENTIAL), trust.of_systemd()) {
            // Systemd, which may read anything, has read it for us: from a file that has to be as good as if we had.
            Ok(Some(token)) => return judge(path, trust).map(|_| Mode::Service(token)),
            // What our unit passes when there is no file, or an empty one.
            Err(TokenError { problem: Problem::Empty, place }) => {
                if judge(path, trust)? {
                    return Err(TokenError { problem: Problem::Empty, place });
                }
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read(path, trust)?.map_or(Mode::User, Mode::Service))
}

/// Compose files written for the upstream image name a file in the variable. Outside containers that would only be a
/// surprising way to read files.
fn token_file(token: &Secret, is_container: bool) -> Option<PathBuf> {
    let path = Path::new(token.expose());
    (is_container && path.is_absolute() && path.is_file()).then(|| path.to_owned())
}

fn read(path: &Path, trust: Trust) -> Result<Option<Secret>, TokenError> {
    file::read(path, trust).map_err(|problem| TokenError { place: Place::File(path.to_owned()), problem })
}

/// Whether there is a file, which must be one that others cannot read.
fn judge(path: &Path, trust: Trust) -> Result<bool, TokenError> {
    file::judge(path, trust).map_err(|problem| TokenError { place: Place::File(path.to_owned()), problem })
}

fn vanished(path: PathBuf) -> TokenError {
    TokenError { place: Place::File(path), problem: Problem::Unreadable(std::io::ErrorKind::NotFound.into()) }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("FIREZONE_TOKEN"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{file::tests::Directory, *};

    fn token(mode: Result<Mode, TokenError>) -> String {
        match mode.unwrap() {
            Mode::Service(token) => token.expose().to_owned(),
            Mode::User => "none".to_owned(),
        }
    }

    fn set(text: &str) -> Environment {
        Environment { token: Variable::from(text), ..Environment::default() }
    }

    #[test]
    fn the_environment_comes_before_the_file() {
        let directory = Directory::new();
        let path = directory.file("token", "from-file", 0o600);
        let find = |environment: &Environment| token(find_with(environment, &path, directory.trust()));
        assert_eq!(find(&set(" from-env\r\n")), "from-env");
        assert_eq!(find(&set("")), "from-file");
        assert_eq!(find(&set(" \n")), "from-file");
        assert_eq!(find(&Environment::default()), "from-file");
    }

    #[test]
    fn without_any_token_people_sign_in() {
        let directory = Directory::new();
        assert_eq!(token(find_with(&Environment::default(), &directory.path("token"), directory.trust())), "none");
    }

    #[test]
    fn a_variable_that_is_not_text_is_an_error() {
        let environment = Environment { token: Variable::NotText, ..Environment::default() };
        let directory = Directory::new();
        let error = find_with(&environment, &directory.path("token"), directory.trust()).unwrap_err();
        assert_eq!(error.to_string(), "FIREZONE_TOKEN: the token is not text");
    }

    #[test]
    fn the_path_may_be_another_and_a_bad_file_there_is_an_error() {
        let directory = Directory::new();
        let default = directory.file("token", "default", 0o600);
        let other = directory.file("other", "other", 0o600);
        let environment = Environment { path: Some(other.clone()), ..Environment::default() };
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "other");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find_with(&environment, &default, directory.trust()).is_err());
    }

    #[test]
    fn what_systemd_passes_comes_before_the_file_and_may_be_readable_by_its_group() {
        let directory = Directory::new();
        let default = directory.file("default", "default", 0o600);
        let environment = Environment { credentials: Some(directory.path("")), ..Environment::default() };
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "default");
        directory.file("token", "credential", 0o440);
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "credential");
    }

    #[test]
    fn what_systemd_passes_must_not_come_from_a_file_that_others_can_read() {
        let directory = Directory::new();
        let default = directory.file("default", "default", 0o640);
        let environment = Environment { credentials: Some(directory.path("")), ..Environment::default() };
        directory.file("token", "default", 0o440);
        let find = || find_with(&environment, &default, directory.trust());
        assert!(matches!(find().unwrap_err().problem, Problem::Exposed { mode: 0o640 }));
        fs::set_permissions(&default, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(token(find()), "default");
        fs::remove_file(&default).unwrap();
        assert_eq!(token(find()), "default");
    }

    #[test]
    fn an_empty_credential_means_that_there_was_no_file() {
        let directory = Directory::new();
        let default = directory.path("default");
        let environment = Environment { credentials: Some(directory.path("")), ..Environment::default() };
        directory.file("token", "\n", 0o440);
        let find = || find_with(&environment, &default, directory.trust());
        assert_eq!(token(find()), "none");
        directory.file("default", " \n", 0o600);
        assert!(matches!(find().unwrap_err().problem, Problem::Empty));
    }

    #[test]
    fn only_in_a_container_the_variable_may_name_a_file() {
        let directory = Directory::new();
        let path = directory.file("secret", "from-secret\n", 0o444);
        let text = path.to_str().unwrap();
        let inside = Environment { is_container: true, ..set(text) };
        let find =
            |environment: &Environment| token(find_with(environment, &directory.path("none"), directory.trust()));
        assert_eq!(find(&inside), "from-secret");
        assert_eq!(find(&set(text)), text);
        assert_eq!(find(&Environment { is_container: true, ..set("/no/such/file") }), "/no/such/file");
    }

    #[test]
    fn nothing_here_prints_a_token() {
        let environment = set("abc123");
        let mode = find_with(&environment, Path::new("/nonexistent"), Trust::root());
        assert!(!format!("{environment:?} {mode:?}").contains("abc123"));
    }
}
