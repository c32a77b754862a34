//! The two codes at the end of a handshake message, and the cookies that a busy peer wants to see in the second
//! (WireGuard's white paper, section 5.4.4 and 5.4.7).

use std::time::{Duration, Instant};

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInPlace as _};
use model::PublicKey;
use subtle::ConstantTimeEq as _;

use super::{
    Refused,
    message::{MAC, TAG, bytes_at, cookie_reply, initiation, number_at, put},
    noise::{hash, mac},
};

/// A cookie is not used longer than that.
const VALIDITY: Duration = Duration::from_secs(120);

/// The keys that follow from the public key of the receiver of a message.
#[derive(Clone, Debug)]
pub(crate) struct Labels {
    mac1: [u8; 32],
    cookie: [u8; 32],
}

/// Our side of the game: what we sent last, and the cookie that we got for it.
#[derive(Debug)]
pub(crate) struct CookieJar {
    labels: Labels,
    /// Our index in the last handshake message, and its first code.
    sent: Option<(u32, [u8; MAC])>,
    cookie: Option<([u8; MAC], Instant)>,
}

impl Labels {
    pub(crate) fn of(receiver: &PublicKey) -> Self {
        Self { mac1: hash(&[b"mac1----", &receiver.0]), cookie: hash(&[b"cookie--", &receiver.0]) }
    }

    /// Whether the first code of a message is that of somebody who knows the key of the receiver.
    pub(crate) fn fit(&self, message: &[u8]) -> bool {
        let (rest, mac1, _) = parts(message);
        bool::from(mac(&self.mac1, &[rest]).ct_eq(mac1))
    }

    /// Whether the second code of a message was made with this cookie.
    pub(crate) fn carries(message: &[u8], cookie: &[u8; MAC]) -> bool {
        let (rest, mac1, mac2) = parts(message);
        bool::from(mac(cookie, &[rest, mac1]).ct_eq(mac2))
    }

    /// Wraps a cookie up for whoever sent `message`.
    pub(crate) fn reply(&self, message: &[u8], cookie: [u8; MAC], nonce: [u8; 24]) -> Option<Vec<u8>> {
        let (_, mac1, _) = parts(message);
        let mut sealed = cookie;
        let tag = self.cipher().encrypt_in_place_detached(&nonce.into(), mac1, &mut sealed).ok()?;
        let mut reply = vec![super::message::COOKIE_REPLY, 0, 0, 0];
        reply.extend(number_at(message, initiation::SENDER).to_le_bytes());
        reply.extend(nonce);
        reply.extend(sealed);
        reply.extend(tag);
        Some(reply)
    }

    fn open(&self, reply: &[u8], mac1: &[u8; MAC]) -> Option<[u8; MAC]> {
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
    /// For handshakes with `peer`.
    pub(crate) fn new(peer: &PublicKey) -> Self {
        Self { labels: Labels::of(peer), sent: None, cookie: None }
    }

    /// Writes both codes to the end of a message that is complete otherwise.
    pub(crate) fn sign(&mut self, message: &mut [u8], now: Instant) {
        let end = message.len().saturating_sub(2 * MAC);
        let mac1 = mac(&self.labels.mac1, &[message.get(..end).unwrap_or_default()]);
        put(message, end, &mac1);
        self.sent = Some((number_at(message, initiation::SENDER), mac1));
        self.cookie = self.cookie.filter(|(_, since)| now.saturating_duration_since(*since) < VALIDITY);
        if let Some((cookie, _)) = &self.cookie {
            let mac2 = mac(cookie, &[message.get(..end + MAC).unwrap_or_default()]);
            put(message, end + MAC, &mac2);
        }
    }

    /// Keeps the cookie for the next message. The last one was not looked at, and is not repeated before its time.
    pub(crate) fn accept(&mut self, reply: &[u8], now: Instant) -> Result<(), Refused> {
        let (index, mac1) = self.sent.ok_or(Refused::Unasked)?;
        if number_at(reply, cookie_reply::RECEIVER) != index {
            return Err(Refused::Unasked);
        }
        self.cookie = Some((self.labels.open(reply, &mac1).ok_or(Refused::Forged)?, now));
        Ok(())
    }
}

/// What the first code covers, and the two codes.
fn parts(message: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (rest, codes) = message.split_at(message.len().saturating_sub(2 * MAC));
    let (mac1, mac2) = codes.split_at(codes.len().min(MAC));
    (rest, mac1, mac2)
}
