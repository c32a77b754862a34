//! Layouts of the four WireGuard messages (white paper, section 5.4).

use std::ops::Range;

pub(crate) const INITIATION: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const COOKIE_REPLY: u8 = 3;
pub(crate) const DATA: u8 = 4;

pub(crate) const INITIATION_LENGTH: usize = 148;
pub(crate) const RESPONSE_LENGTH: usize = 92;
pub(crate) const COOKIE_REPLY_LENGTH: usize = 64;

/// Bytes before the ciphertext of a data message: type, three zero bytes, receiver index, counter.
pub(crate) const DATA_HEADER: usize = 16;
/// Bytes of an authentication tag.
pub(crate) const TAG: usize = 16;
/// Bytes of each of the two MACs at the end of a handshake message.
pub(crate) const MAC: usize = 16;
/// Bytes of a TAI64N timestamp.
pub(crate) const TIMESTAMP: usize = 12;

/// Fields of an initiation.
pub(crate) mod initiation {
    use std::ops::Range;

    pub(crate) const SENDER: usize = 4;
    pub(crate) const EPHEMERAL: Range<usize> = 8..40;
    pub(crate) const STATIC: Range<usize> = 40..88;
    pub(crate) const TIMESTAMP: Range<usize> = 88..116;
}

/// Fields of a response.
pub(crate) mod response {
    use std::ops::Range;

    pub(crate) const SENDER: usize = 4;
    pub(crate) const RECEIVER: usize = 8;
    pub(crate) const EPHEMERAL: Range<usize> = 12..44;
    /// An empty plaintext with its tag.
    pub(crate) const EMPTY: Range<usize> = 44..60;
}

/// Fields of a cookie reply.
pub(crate) mod cookie_reply {
    use std::ops::Range;

    pub(crate) const RECEIVER: usize = 4;
    pub(crate) const NONCE: Range<usize> = 8..32;
    pub(crate) const COOKIE: Range<usize> = 32..64;
}

/// Fields of a data message.
pub(crate) mod data {
    pub(crate) const RECEIVER: usize = 4;
}

/// The type of a WireGuard message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageKind {
    Initiation,
    Response,
    CookieReply,
    Data,
}

impl MessageKind {
    /// The type by the first four bytes and the length; `None` if the datagram is not a WireGuard message.
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

    /// The offset of the receiver's session index; an initiation does not contain one.
    pub(crate) fn receiver_offset(self) -> Option<usize> {
        match self {
            Self::Initiation => None,
            Self::Response => Some(response::RECEIVER),
            Self::CookieReply => Some(cookie_reply::RECEIVER),
            Self::Data => Some(data::RECEIVER),
        }
    }
}

/// Whether the datagram has the type and length of a WireGuard message.
#[must_use]
pub fn is_message(datagram: &[u8]) -> bool {
    MessageKind::of(datagram).is_some()
}

/// The number at this offset; 0 if the message is too short, which its kind excludes.
pub(crate) fn u32_at(message: &[u8], offset: usize) -> u32 {
    message.get(offset..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

/// The bytes in this range; zeros if the message is too short, which its kind excludes.
pub(crate) fn bytes_at<const N: usize>(message: &[u8], range: Range<usize>) -> [u8; N] {
    message.get(range).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// Overwrites the bytes from this offset on.
pub(crate) fn write_at(message: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(field) = message.get_mut(offset..offset + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wireguard_message_is_recognized_by_type_and_length() {
        let message = |kind: u8, length: usize| {
            let mut message = vec![0; length];
            message[0] = kind;
            message
        };
        for (kind, length) in [(1, 148), (2, 92), (3, 64), (4, 32), (4, 1316)] {
            assert!(is_message(&message(kind, length)));
        }
        for (kind, length) in [(1, 147), (2, 93), (3, 63), (4, 31), (0, 148), (5, 148), (4, 4)] {
            assert!(!is_message(&message(kind, length)));
        }
        assert!(!is_message(&[4, 0, 0]));
        assert!(!is_message(&[]));
    }
}
