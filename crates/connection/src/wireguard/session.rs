//! One session: a key for each direction, and which messages were seen.

use std::time::{Duration, Instant};

use ring::aead::{Aad, LessSafeKey, Nonce};

use super::{
    message::{DATA, DATA_HEADER, TAG},
    noise::{Key, aead},
    replay::Replay,
};

/// What a WireGuard message adds to an IP packet.
pub(crate) const OVERHEAD: usize = DATA_HEADER + TAG;
/// The initiator of a session does not send on it so late that it may expire under way.
const INITIATOR_STOPS: Duration = Duration::from_secs(170);
/// Nobody sends on a session after this; a little less than the 180 s at which it is gone on the other side.
const RESPONDER_STOPS: Duration = Duration::from_secs(179);
/// Then the session is gone.
pub(crate) const REJECT_AFTER: Duration = Duration::from_secs(180);
/// Messages after which a session is not sent on any more.
const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Counters from here on are refused; those of honest peers never get there.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// A session, known to both sides.
pub(crate) struct Session {
    /// Our number for it.
    pub(crate) index: u32,
    /// The peer's.
    pub(crate) remote_index: u32,
    pub(crate) since: Instant,
    pub(crate) made_by: Initiator,
    sending: LessSafeKey,
    receiving: LessSafeKey,
    next_counter: u64,
    replay: Replay,
}

/// Whose initiation made a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Initiator {
    Us,
    Them,
}

/// Why a message was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Refused {
    /// It is for a session that is gone or never was.
    NoSession,
    /// It was not made by the peer.
    Forged,
    /// It was seen before, or is so late that nobody can tell.
    Replayed,
    /// It is an answer to nothing that we asked.
    Unasked,
    /// What is inside is no packet that we accept.
    Malformed,
}

impl Session {
    /// `keys` are those for sending and receiving.
    pub(crate) fn new(
        (index, remote_index): (u32, u32),
        (sending, receiving): (&Key, &Key),
        made_by: Initiator,
        now: Instant,
    ) -> Option<Self> {
        let (sending, receiving) = (aead(sending)?, aead(receiving)?);
        let replay = Replay::new();
        Some(Self { index, remote_index, since: now, made_by, sending, receiving, next_counter: 0, replay })
    }

    /// Whether something may be sent on it.
    pub(crate) fn is_for_sending(&self, now: Instant) -> bool {
        let limit = match self.made_by {
            Initiator::Us => INITIATOR_STOPS,
            Initiator::Them => RESPONDER_STOPS,
        };
        now.saturating_duration_since(self.since) < limit && self.next_counter < REKEY_AFTER_MESSAGES
    }

    /// When it is gone.
    pub(crate) fn end(&self) -> Instant {
        self.since + REJECT_AFTER
    }

    /// Appends the message with `packet` to `output`.
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
        let Ok(tag) = self.sending.seal_in_place_separate_tag(nonce(counter), Aad::empty(), plaintext) else {
            return false;
        };
        output.extend_from_slice(tag.as_ref());
        true
    }

    /// Decrypts a message where it lies.
    pub(crate) fn open<'a>(&mut self, message: &'a mut [u8]) -> Result<&'a mut [u8], Refused> {
        let (header, body) = message.split_first_chunk_mut::<DATA_HEADER>().ok_or(Refused::Malformed)?;
        let counter = header.last_chunk().copied().map_or(u64::MAX, u64::from_le_bytes);
        if counter >= REJECT_AFTER_MESSAGES || !self.replay.is_new(counter) {
            return Err(Refused::Replayed);
        }
        let packet =
            self.receiving.open_in_place(nonce(counter), Aad::empty(), body).map_err(|_unspecified| Refused::Forged)?;
        self.replay.note(counter);
        Ok(packet)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("index", &self.index).field("made_by", &self.made_by).finish_non_exhaustive()
    }
}

/// Four zero bytes and the counter.
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
        let session = |indices, keys, by| Session::new(indices, keys, by, epoch()).unwrap();
        (session((1, 2), (&one, &other), Initiator::Us), session((2, 1), (&other, &one), Initiator::Them))
    }

    fn sealed(session: &mut Session, packet: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        assert!(session.seal(packet, &mut message));
        message
    }

    #[test]
    fn packets_of_all_sizes_arrive() {
        let (mut ours, mut theirs) = pair();
        for length in [0, 1, 20, 1_279, 1_280] {
            let packet: Vec<_> = (0..length).map(|n| n as u8).collect();
            let mut message = sealed(&mut ours, &packet);
            assert_eq!(message.len(), length + OVERHEAD);
            assert_eq!(theirs.open(&mut message).unwrap(), packet);
        }
    }

    #[test]
    fn a_message_is_accepted_once_and_a_forged_one_never() {
        let (mut ours, mut theirs) = pair();
        let message = sealed(&mut ours, b"hello");
        for index in DATA_HEADER..message.len() {
            let mut forged = message.clone();
            forged[index] ^= 1;
            assert_eq!(theirs.open(&mut forged), Err(Refused::Forged), "byte {index}");
        }
        assert!(theirs.open(&mut message.clone()).is_ok());
        assert_eq!(theirs.open(&mut message.clone()), Err(Refused::Replayed));
    }

    #[test]
    fn a_batch_that_comes_8191_messages_late_is_accepted() {
        let (mut ours, mut theirs) = pair();
        let mut messages: Vec<_> = (0..8_193).map(|_| sealed(&mut ours, b"")).collect();
        assert!(theirs.open(&mut messages[8_192]).is_ok());
        assert!(theirs.open(&mut messages[1]).is_ok());
        assert_eq!(theirs.open(&mut messages[0]), Err(Refused::Replayed));
    }

    #[test]
    fn nobody_sends_on_a_session_that_may_expire_under_way() {
        let (ours, theirs) = pair();
        let after = |session: &Session, seconds| session.since + Duration::from_secs(seconds);
        assert!(ours.is_for_sending(after(&ours, 169)) && !ours.is_for_sending(after(&ours, 170)));
        assert!(theirs.is_for_sending(after(&theirs, 178)) && !theirs.is_for_sending(after(&theirs, 179)));
    }
}
