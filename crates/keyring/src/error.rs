//! Why the keyring did not do what was asked.

/// For a remark to the user. None of it is a reason not to sign in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody serves one in this session.
    #[error("there is no keyring in this session")]
    Missing,
    /// It is locked, and the user did not unlock it.
    #[error("the keyring is locked")]
    Locked,
    /// It does not answer.
    #[error("the keyring does not answer")]
    Silent,
    /// Anything else.
    #[error("the keyring failed")]
    Failed(#[source] Box<secret_service::Error>),
}

impl From<secret_service::Error> for Error {
    fn from(error: secret_service::Error) -> Self {
        use secret_service::Error as Theirs;
        match error {
            Theirs::Unavailable => Self::Missing,
            Theirs::Locked | Theirs::Prompt => Self::Locked,
            Theirs::PromptDisconnected => Self::Silent,
            error if nobody_serves(&error) => Self::Missing,
            error => Self::Failed(Box::new(error)),
        }
    }
}

/// Whether the bus says that there is nobody to call.
fn nobody_serves(error: &secret_service::Error) -> bool {
    let name = match error {
        secret_service::Error::Zbus(zbus::Error::MethodError(name, ..)) => name.as_str(),
        secret_service::Error::Zbus(zbus::Error::FDO(error)) => return is_absence(error),
        secret_service::Error::ZbusFdo(error) => return is_absence(error),
        _ => return false,
    };
    matches!(name, "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner")
}

fn is_absence(error: &zbus::fdo::Error) -> bool {
    matches!(error, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_))
}
