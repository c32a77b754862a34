//! Why another resolver gave no usable response.

use std::io;

use dns::ResponseError;
use tls::CertificateProblem;

/// The mark that keeps sockets out of the tunnel cannot be set.
#[derive(Clone, Copy, Debug)]
pub struct CannotMark;

/// Why a query could not be forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error("it took too long")]
    TimedOut,
    #[error("its socket cannot be kept out of the tunnel; CAP_NET_ADMIN is missing")]
    CannotMark,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    InvalidResponse(#[from] ResponseError),
    #[error("its response belongs to another question")]
    QuestionMismatch,
    #[error("it forwards queries to us")]
    Loop,
    #[error("the query is too long")]
    TooLong,
    #[error("the connection was closed")]
    Closed,
    #[error("its address is unknown")]
    NoAddress,
    #[error("its name cannot have a certificate")]
    NoServerName,
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("it replied with HTTP status {0}")]
    Status(u16),
    #[error("its reply is not a DNS message")]
    NotDns,
}

/// The last failure of a resolver, for diagnostics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No response in time.
    TimedOut,
    /// It cannot be reached.
    Unreachable,
    /// Its certificate is not trusted or belongs to another server.
    Certificate,
    /// Its name cannot be resolved.
    NoAddress,
    /// Its response is invalid.
    Protocol,
    /// It is on this host and forwards queries to us.
    Loop,
    /// Sockets cannot be marked.
    CannotMark,
}

impl From<&ForwardError> for Failure {
    fn from(error: &ForwardError) -> Self {
        match error {
            ForwardError::TimedOut => Self::TimedOut,
            ForwardError::CannotMark => Self::CannotMark,
            ForwardError::Io(error) if CertificateProblem::of(error).is_some() => Self::Certificate,
            ForwardError::Io(_) | ForwardError::Closed => Self::Unreachable,
            ForwardError::NoAddress => Self::NoAddress,
            ForwardError::NoServerName => Self::Certificate,
            ForwardError::Loop => Self::Loop,
            ForwardError::InvalidResponse(_)
            | ForwardError::QuestionMismatch
            | ForwardError::TooLong
            | ForwardError::Http(_)
            | ForwardError::Status(_)
            | ForwardError::NotDns => Self::Protocol,
        }
    }
}
