//! The service token. A token in the environment or in a file selects service mode; otherwise users sign in.
//!
//! Precedence: `FIREZONE_TOKEN`; the credential `token` from systemd; the configured file, else
//! `/etc/dev.firezone.client/token`. An unusable token is an error, and never selects user mode. Tokens are only read here.

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

/// The name of the credential in `LoadCredential=token:…`.
const CREDENTIAL: &str = "token";

/// Who controls the session.
#[derive(Debug)]
pub enum Mode {
    /// The administrator, with this service token. No user may sign in or out, even if the portal rejects the token.
    Service(Secret),
    /// Users, who sign in with their own tokens.
    User,
}

/// A token that must not or cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct TokenError {
    /// The place of the token.
    pub place: Place,
    /// The problem and its remedy.
    pub problem: Problem,
}

/// A place of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the variable `FIREZONE_TOKEN`.
    Environment,
    /// In this file.
    File(PathBuf),
}

/// Looks for a token. Called again on SIGHUP, when the file may have changed.
///
/// # Errors
/// A token exists, but it is unusable.
pub fn find(environment: &Environment) -> Result<Mode, TokenError> {
    find_with(environment, Path::new(settings::TOKEN_PATH), Trust::root())
}

fn find_with(environment: &Environment, default: &Path, trust: Trust) -> Result<Mode, TokenError> {
    match &environment.token {
        Variable::Absent => {}
        Variable::Empty => tracing::warn!("FIREZONE_TOKEN is empty and ignored"),
        Variable::NotText => return Err(TokenError { place: Place::Environment, problem: Problem::NotText }),
        Variable::Text(token) => {
            return Ok(Mode::Service(match token_file(token, environment.is_container) {
                Some(path) => read(&path, Trust::Unchecked)?.ok_or_else(|| missing_file(path))?,
                None => token.clone(),
            }));
        }
    }
    let path = environment.path.as_deref().unwrap_or(default);
    if let Some(directory) = &environment.credentials {
        match read(&directory.join(CREDENTIAL), trust.for_credential()) {
            // systemd has read the file with its own privileges. The file must satisfy the same conditions as without systemd.
            Ok(Some(token)) => return check(path, trust).map(|_| Mode::Service(token)),
            // The unit passes this if the file is missing or empty.
            Err(TokenError { problem: Problem::Empty, place }) => {
                if check(path, trust)? {
                    return Err(TokenError { problem: Problem::Empty, place });
                }
            }
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read(path, trust)?.map_or(Mode::User, Mode::Service))
}

/// Compose files for the official image set the variable to the path of a file. This is supported in containers only.
fn token_file(token: &Secret, is_container: bool) -> Option<PathBuf> {
    let path = Path::new(token.expose());
    (is_container && path.is_absolute() && path.is_file()).then(|| path.to_owned())
}

fn read(path: &Path, trust: Trust) -> Result<Option<Secret>, TokenError> {
    file::read(path, trust).map_err(|problem| TokenError { place: Place::File(path.to_owned()), problem })
}

/// Whether the file exists. If so, other users must not be able to read it.
fn check(path: &Path, trust: Trust) -> Result<bool, TokenError> {
    file::check_path(path, trust).map_err(|problem| TokenError { place: Place::File(path.to_owned()), problem })
}

fn missing_file(path: PathBuf) -> TokenError {
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
    fn environment_takes_precedence_over_the_file() {
        let directory = Directory::new();
        let path = directory.file("token", "from-file", 0o600);
        let find = |environment: &Environment| token(find_with(environment, &path, directory.trust()));
        assert_eq!(find(&set(" from-env\r\n")), "from-env");
        assert_eq!(find(&set("")), "from-file");
        assert_eq!(find(&set(" \n")), "from-file");
        assert_eq!(find(&Environment::default()), "from-file");
    }

    #[test]
    fn missing_token_selects_user_mode() {
        let directory = Directory::new();
        assert_eq!(token(find_with(&Environment::default(), &directory.path("token"), directory.trust())), "none");
    }

    #[test]
    fn variable_that_is_not_utf_8_is_an_error() {
        let environment = Environment { token: Variable::NotText, ..Environment::default() };
        let directory = Directory::new();
        let error = find_with(&environment, &directory.path("token"), directory.trust()).unwrap_err();
        assert_eq!(error.to_string(), "FIREZONE_TOKEN: the token is not text");
    }

    #[test]
    fn configured_path_is_used_and_its_problems_are_errors() {
        let directory = Directory::new();
        let default = directory.file("token", "default", 0o600);
        let other = directory.file("other", "other", 0o600);
        let environment = Environment { path: Some(other.clone()), ..Environment::default() };
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "other");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find_with(&environment, &default, directory.trust()).is_err());
    }

    #[test]
    fn credential_takes_precedence_and_may_be_group_readable() {
        let directory = Directory::new();
        let default = directory.file("default", "default", 0o600);
        let environment = Environment { credentials: Some(directory.path("")), ..Environment::default() };
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "default");
        directory.file("token", "credential", 0o440);
        assert_eq!(token(find_with(&environment, &default, directory.trust())), "credential");
    }

    #[test]
    fn credential_from_an_exposed_file_is_an_error() {
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
    fn empty_credential_stands_for_a_missing_file() {
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
    fn variable_may_name_a_file_only_in_a_container() {
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
    fn token_debug_output_hides_the_token() {
        let environment = set("abc123");
        let mode = find_with(&environment, Path::new("/nonexistent"), Trust::root());
        assert!(!format!("{environment:?} {mode:?}").contains("abc123"));
    }
}
