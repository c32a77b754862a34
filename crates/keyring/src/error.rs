//! Errors of the keyring.

/// Errors to report to the user. None of them prevents signing in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Secret Service provider runs in this session.
    #[error("there is no keyring in this session")]
    Unavailable,
    /// The keyring is locked, and the user did not unlock it.
    #[error("the keyring is locked")]
    Locked,
    /// The provider did not answer in time.
    #[error("the keyring does not answer")]
    Timeout,
    /// Any other error of the provider.
    #[error("the keyring failed")]
    Other(#[source] Box<secret_service::Error>),
}

impl From<secret_service::Error> for Error {
    fn from(error: secret_service::Error) -> Self {
        use secret_service::Error as ServiceError;
        match error {
            ServiceError::Unavailable => Self::Unavailable,
            ServiceError::Locked | ServiceError::Prompt => Self::Locked,
            ServiceError::PromptDisconnected => Self::Timeout,
            error if is_service_unknown(&error) => Self::Unavailable,
            error => Self::Other(Box::new(error)),
        }
    }
}

/// Whether the bus reports that no program owns the service's name.
fn is_service_unknown(error: &secret_service::Error) -> bool {
    let name = match error {
        secret_service::Error::Zbus(zbus::Error::MethodError(name, ..)) => name.as_str(),
        secret_service::Error::Zbus(zbus::Error::FDO(error)) => return is_unknown_name(error),
        secret_service::Error::ZbusFdo(error) => return is_unknown_name(error),
        _ => return false,
    };
    matches!(name, "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner")
}

fn is_unknown_name(error: &zbus::fdo::Error) -> bool {
    matches!(error, zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_))
}
