//! One session: a key for each direction, and the window of received counters.

use std::time::{Duration, Instant};

use ring::aead::{Aad, LessSafeKey, Nonce};

use crate::{
    error::MessageError,
    message::{DATA, DATA_HEADER, TAG},
    noise::{Key, aead},
    replay::ReplayWindow,
};

/// Bytes that a data message adds to an IP packet.
const OVERHEAD: usize = DATA_HEADER + TAG;
/// Age at which the initiator stops sending on a session, so that messages do not arrive after its end.
const INITIATOR_SEND_LIMIT: Duration = Duration::from_secs(170);
/// Age at which the responder stops sending; slightly less than [`REJECT_AFTER_TIME`] of the other side.
const RESPONDER_SEND_LIMIT: Duration = Duration::from_secs(179);
/// Age at which a session ends.
pub(crate) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Messages that may be sent on one session.
const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Received counters from here on are rejected.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// A session, known to both sides.
pub(crate) struct Session {
    /// Our index of the session.
    pub(crate) index: u32,
    /// The peer's index of the session.
    pub(crate) remote_index: u32,
    pub(crate) created_at: Instant,
    pub(crate) role: Role,
    sending_key: LessSafeKey,
    receiving_key: LessSafeKey,
    next_counter: u64,
    replay: ReplayWindow,
}

/// Our role in the handshake that created a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

impl Session {
    /// The pairs are our index and the peer's, and the keys for sending and receiving.
    pub(crate) fn new(
        (index, remote_index): (u32, u32),
        (sending_key, receiving_key): (&Key, &Key),
        role: Role,
        now: Instant,
    ) -> Option<Self> {
        let (sending_key, receiving_key) = (aead(sending_key)?, aead(receiving_key)?);
        let replay = ReplayWindow::new();
        Some(Self { index, remote_index, created_at: now, role, sending_key, receiving_key, next_counter: 0, replay })
    }

    /// Whether messages may be sent on the session.
    pub(crate) fn can_send(&self, now: Instant) -> bool {
        let limit = match self.role {
            Role::Initiator => INITIATOR_SEND_LIMIT,
            Role::Responder => RESPONDER_SEND_LIMIT,
        };
        now.saturating_duration_since(self.created_at) < limit && self.next_counter < REKEY_AFTER_MESSAGES
    }

    /// When the session ends.
    pub(crate) fn expires_at(&self) -> Instant {
        self.created_at + REJECT_AFTER_TIME
    }

    /// Encrypts `packet` and appends the message to `output`. Returns `false` if encryption fails.
    pub(crate) fn seal(&mut self, packet: &[u8], output: &mut Vec<u8>) -> bool {
        let counter = self.next_counter;
        self.next_counter += 1;
        let body = output.len() + DATA_HEADER;
        output.reserve(packet.len() + OVERHEAD);
        output.extend([DATA, 0, 0, 0]);
        output.extend(self.remote_index.to_le_bytes());
        output.extend(counter.to_le_bytes());
        output.extend_from_slice(packet);
        let plaintext = output.get_mut(body..).unwrap_or_default();
        let Ok(tag) = self.sending_key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), plaintext) else {
            return false;
        };
        output.extend_from_slice(tag.as_ref());
        true
    }

    /// Decrypts a message in place. Returns the packet.
    pub(crate) fn open<'a>(&mut self, message: &'a mut [u8]) -> Result<&'a mut [u8], MessageError> {
        let (header, body) = message.split_first_chunk_mut::<DATA_HEADER>().ok_or(MessageError::Malformed)?;
        let counter = header.last_chunk().copied().map_or(u64::MAX, u64::from_le_bytes);
        if counter >= REJECT_AFTER_MESSAGES || !self.replay.is_new(counter) {
            return Err(MessageError::Replayed);
        }
        let packet = self
            .receiving_key
            .open_in_place(nonce(counter), Aad::empty(), body)
            .map_err(|_unspecified| MessageError::Forged)?;
        self.replay.record(counter);
        Ok(packet)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("index", &self.index).field("role", &self.role).finish_non_exhaustive()
    }
}

/// The nonce of a data message: four zero bytes, then the counter.
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    fn pair() -> (Session, Session) {
        let (one, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let session = |indices, keys, role| Session::new(indices, keys, role, epoch()).unwrap();
        (session((1, 2), (&one, &other), Role::Initiator), session((2, 1), (&other, &one), Role::Responder))
    }

    fn sealed(session: &mut Session, packet: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        assert!(session.seal(packet, &mut message));
        message
    }

    #[test]
    fn packets_of_0_to_1280_bytes_are_decrypted() {
        let (mut ours, mut theirs) = pair();
        for length in [0, 1, 20, 1_279, 1_280] {
            let packet: Vec<_> = (0..length).map(|n| n as u8).collect();
            let mut message = sealed(&mut ours, &packet);
            assert_eq!(message.len(), length + OVERHEAD);
            assert_eq!(theirs.open(&mut message).unwrap(), packet);
        }
    }

    #[test]
    fn replayed_and_forged_messages_are_rejected() {
        let (mut ours, mut theirs) = pair();
        let message = sealed(&mut ours, b"hello");
        for index in DATA_HEADER..message.len() {
            let mut forged = message.clone();
            forged[index] ^= 1;
            assert_eq!(theirs.open(&mut forged), Err(MessageError::Forged), "byte {index}");
        }
        assert!(theirs.open(&mut message.clone()).is_ok());
        assert_eq!(theirs.open(&mut message.clone()), Err(MessageError::Replayed));
    }

    #[test]
    fn message_8191_behind_the_newest_is_accepted() {
        let (mut ours, mut theirs) = pair();
        let mut messages: Vec<_> = (0..8_193).map(|_| sealed(&mut ours, b"")).collect();
        assert!(theirs.open(&mut messages[8_192]).is_ok());
        assert!(theirs.open(&mut messages[1]).is_ok());
        assert_eq!(theirs.open(&mut messages[0]), Err(MessageError::Replayed));
    }

    #[test]
    fn sending_stops_at_170_seconds_for_the_initiator_and_179_for_the_responder() {
        let (ours, theirs) = pair();
        let after = |session: &Session, seconds| session.created_at + Duration::from_secs(seconds);
        assert!(ours.can_send(after(&ours, 169)) && !ours.can_send(after(&ours, 170)));
        assert!(theirs.can_send(after(&theirs, 178)) && !theirs.can_send(after(&theirs, 179)));
    }
}
