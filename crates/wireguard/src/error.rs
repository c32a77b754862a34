//! Why a message is not accepted.

/// Why a message is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum MessageError {
    /// Neither the type nor the length is that of a WireGuard message.
    #[error("not a WireGuard message")]
    Malformed,
    /// The session has ended or never existed.
    #[error("unknown session")]
    UnknownSession,
    /// The message fails authentication: another key, another recipient, or changed in transit.
    #[error("authentication failed")]
    Forged,
    /// The counter or timestamp was used before, or is older than the window.
    #[error("replayed")]
    Replayed,
    /// A response or cookie reply for which no request is pending.
    #[error("unsolicited response")]
    Unsolicited,
}
