//! Where what stands in a WireGuard message.

use std::ops::Range;

pub(crate) const INITIATION: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const COOKIE_REPLY: u8 = 3;
pub(crate) const DATA: u8 = 4;

pub(crate) const INITIATION_LENGTH: usize = 148;
pub(crate) const RESPONSE_LENGTH: usize = 92;
pub(crate) const COOKIE_REPLY_LENGTH: usize = 64;

/// Type, three zero bytes, receiver, counter: what stands before the ciphertext of data.
pub(crate) const DATA_HEADER: usize = 16;
/// Length of an authentication tag.
pub(crate) const TAG: usize = 16;
/// Length of each of the two codes at the end of a handshake message.
pub(crate) const MAC: usize = 16;
/// Length of a TAI64N timestamp.
pub(crate) const TIMESTAMP: usize = 12;

/// Parts of an initiation.
pub(crate) mod initiation {
    use super::Range;

    pub(crate) const SENDER: usize = 4;
    pub(crate) const EPHEMERAL: Range<usize> = 8..40;
    pub(crate) const STATIC: Range<usize> = 40..88;
    pub(crate) const TIMESTAMP: Range<usize> = 88..116;
}

/// Parts of a response.
pub(crate) mod response {
    use super::Range;

    pub(crate) const SENDER: usize = 4;
    pub(crate) const RECEIVER: usize = 8;
    pub(crate) const EPHEMERAL: Range<usize> = 12..44;
    pub(crate) const NOTHING: Range<usize> = 44..60;
}

/// Parts of a cookie reply.
pub(crate) mod cookie_reply {
    use super::Range;

    pub(crate) const RECEIVER: usize = 4;
    pub(crate) const NONCE: Range<usize> = 8..32;
    pub(crate) const COOKIE: Range<usize> = 32..64;
}

/// What a WireGuard message is, by type and length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Initiation,
    Response,
    CookieReply,
    Data,
}

impl Kind {
    /// `None` if this is no WireGuard message.
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        let [kind, 0, 0, 0] = datagram.first_chunk()? else { return None };
        match (*kind, datagram.len()) {
            (INITIATION, INITIATION_LENGTH) => Some(Self::Initiation),
            (RESPONSE, RESPONSE_LENGTH) => Some(Self::Response),
            (COOKIE_REPLY, COOKIE_REPLY_LENGTH) => Some(Self::CookieReply),
            (DATA, length) if length >= DATA_HEADER + TAG => Some(Self::Data),
            _ => None,
        }
    }

    /// Where the index of the session stands that the message is for.
    pub(crate) fn receiver(self) -> Option<usize> {
        match self {
            Self::Initiation => None,
            Self::Response => Some(response::RECEIVER),
            Self::CookieReply => Some(cookie_reply::RECEIVER),
            Self::Data => Some(4),
        }
    }
}

/// The number at this place of a message; 0 if the message is too short.
pub(crate) fn number_at(message: &[u8], offset: usize) -> u32 {
    message.get(offset..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

/// The bytes at this place of a message; zeros if the message is too short, which its kind excludes.
pub(crate) fn bytes_at<const N: usize>(message: &[u8], range: Range<usize>) -> [u8; N] {
    message.get(range).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// Writes to this place of a message.
pub(crate) fn put(message: &mut [u8], offset: usize, part: &[u8]) {
    if let Some(place) = message.get_mut(offset..offset + part.len()) {
        place.copy_from_slice(part);
    }
}
