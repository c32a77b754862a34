//! The two MACs at the end of a handshake message, and the cookies that a busy responder requires in the second (white
//! paper, sections 5.4.4 and 5.4.7).

use std::time::{Duration, Instant};

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInPlace as _};
use model::PublicKey;
use subtle::ConstantTimeEq as _;

use crate::{
    error::MessageError,
    message::{COOKIE_REPLY, MAC, TAG, bytes_at, cookie_reply, initiation, u32_at, write_at},
    noise::{hash, mac},
};

/// How long a received cookie is used.
const COOKIE_LIFETIME: Duration = Duration::from_secs(120);

/// Keys derived from the public key of a handshake message's recipient.
#[derive(Clone, Debug)]
pub(crate) struct MacKeys {
    mac1: [u8; 32],
    cookie: [u8; 32],
}

/// The cookie received from one peer, and the message that it was received for.
#[derive(Debug)]
pub(crate) struct CookieJar {
    mac_keys: MacKeys,
    /// The sender index of the last handshake message, and its first MAC.
    last_sent: Option<(u32, [u8; MAC])>,
    cookie: Option<([u8; MAC], Instant)>,
}

impl MacKeys {
    pub(crate) fn new(recipient: &PublicKey) -> Self {
        Self { mac1: hash(&[b"mac1----", &recipient.0]), cookie: hash(&[b"cookie--", &recipient.0]) }
    }

    /// Whether the first MAC is valid: the sender knows the recipient's public key.
    pub(crate) fn verify_mac1(&self, message: &[u8]) -> bool {
        let (rest, mac1, _) = split_macs(message);
        bool::from(mac(&self.mac1, &[rest]).ct_eq(mac1))
    }

    /// Whether the second MAC was made with this cookie.
    pub(crate) fn verify_mac2(message: &[u8], cookie: &[u8; MAC]) -> bool {
        let (rest, mac1, mac2) = split_macs(message);
        bool::from(mac(cookie, &[rest, mac1]).ct_eq(mac2))
    }

    /// The reply that carries `cookie` to the sender of `message`.
    pub(crate) fn cookie_reply(&self, message: &[u8], cookie: [u8; MAC], nonce: [u8; 24]) -> Option<Vec<u8>> {
        let (_, mac1, _) = split_macs(message);
        let mut sealed = cookie;
        let tag = self.cipher().encrypt_in_place_detached(&nonce.into(), mac1, &mut sealed).ok()?;
        let mut reply = vec![COOKIE_REPLY, 0, 0, 0];
        reply.extend(u32_at(message, initiation::SENDER).to_le_bytes());
        reply.extend(nonce);
        reply.extend(sealed);
        reply.extend(tag);
        Some(reply)
    }

    fn decrypt_cookie(&self, reply: &[u8], mac1: &[u8; MAC]) -> Option<[u8; MAC]> {
        let sealed: [u8; MAC + TAG] = bytes_at(reply, cookie_reply::COOKIE);
        let (cookie, tag) = sealed.split_first_chunk::<MAC>()?;
        let (nonce, mut cookie) = (bytes_at::<24>(reply, cookie_reply::NONCE), *cookie);
        let tag: [u8; TAG] = tag.try_into().ok()?;
        self.cipher().decrypt_in_place_detached(&nonce.into(), mac1, &mut cookie, &tag.into()).ok()?;
        Some(cookie)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.cookie.into())
    }
}

impl CookieJar {
    /// For handshake messages to `peer`.
    pub(crate) fn new(peer: &PublicKey) -> Self {
        Self { mac_keys: MacKeys::new(peer), last_sent: None, cookie: None }
    }

    /// Writes both MACs into an otherwise complete message.
    pub(crate) fn append_macs(&mut self, message: &mut [u8], now: Instant) {
        let end = message.len().saturating_sub(2 * MAC);
        let mac1 = mac(&self.mac_keys.mac1, &[message.get(..end).unwrap_or_default()]);
        write_at(message, end, &mac1);
        self.last_sent = Some((u32_at(message, initiation::SENDER), mac1));
        self.cookie = self.cookie.filter(|(_, since)| now.saturating_duration_since(*since) < COOKIE_LIFETIME);
        if let Some((cookie, _)) = &self.cookie {
            let mac2 = mac(cookie, &[message.get(..end + MAC).unwrap_or_default()]);
            write_at(message, end + MAC, &mac2);
        }
    }

    /// Keeps the cookie for the next message. The discarded message is repeated at its normal time, not at once.
    pub(crate) fn accept(&mut self, reply: &[u8], now: Instant) -> Result<(), MessageError> {
        let (index, mac1) = self.last_sent.ok_or(MessageError::Unsolicited)?;
        if u32_at(reply, cookie_reply::RECEIVER) != index {
            return Err(MessageError::Unsolicited);
        }
        self.cookie = Some((self.mac_keys.decrypt_cookie(reply, &mac1).ok_or(MessageError::Forged)?, now));
        Ok(())
    }
}

/// The bytes covered by the first MAC, and both MACs.
fn split_macs(message: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (rest, macs) = message.split_at(message.len().saturating_sub(2 * MAC));
    let (mac1, mac2) = macs.split_at(macs.len().min(MAC));
    (rest, mac1, mac2)
}
