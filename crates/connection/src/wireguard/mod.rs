//! WireGuard. Only this folder knows that boringtun does the work.
//!
//! boringtun reads the system's clocks itself: the handshake's timestamps and its timers follow them and not the `now` of
//! the other machines, and its timers have to be looked at several times a second. What must be exact is kept here
//! instead, by `now`: how old a session may be to be sent on, and how long a handshake is tried.

use std::{net::IpAddr, sync::Arc};

use boringtun::{
    noise::{Packet, Tunn, TunnResult, handshake::parse_handshake_anon, rate_limiter::RateLimiter},
    x25519,
};
use model::PublicKey;
use rand::Rng;

mod index;
mod tunnel;

pub(crate) use index::Number;
pub(crate) use tunnel::{Attempt, Opened, Tunnel};

use crate::limits::HANDSHAKES_PER_SECOND;

/// What a WireGuard message adds to an IP packet.
pub(crate) const OVERHEAD: usize = 32;
/// Room that the engine wants for anything it writes.
const LONGEST_HANDSHAKE: usize = 148;

/// Our key, and the guard in front of it.
pub(crate) struct Identity {
    private: x25519::StaticSecret,
    public: x25519::PublicKey,
    /// Looks at each handshake message first.
    gate: RateLimiter,
    /// Each tunnel would look again with a limiter of its own, so all share one that never refuses.
    open_gate: Arc<RateLimiter>,
}

/// Where a WireGuard message belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Addressee {
    /// To the connection with this number.
    Number(Number),
    /// To the connection with the owner of this key.
    Key(PublicKey),
    /// To nobody, but this has to be answered.
    CookieReply(Vec<u8>),
}

impl Identity {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let private = x25519::StaticSecret::from(rng.random::<[u8; 32]>());
        let public = x25519::PublicKey::from(&private);
        let gate = RateLimiter::new(&public, HANDSHAKES_PER_SECOND);
        let open_gate = Arc::new(RateLimiter::new(&public, u64::MAX));
        Self { private, public, gate, open_gate }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey(*self.public.as_bytes())
    }

    /// Finds out whose a message is. `None` if it is no WireGuard message, or one of nobody's.
    pub(crate) fn addressee(&self, from: IpAddr, datagram: &[u8]) -> Option<Addressee> {
        match Tunn::parse_incoming_packet(datagram).ok()? {
            Packet::HandshakeInit(initiation) => self.admit(from, datagram).map_or_else(
                || {
                    let half = parse_handshake_anon(&self.private, &self.public, &initiation).ok()?;
                    Some(Addressee::Key(PublicKey(half.peer_static_public)))
                },
                |refusal| refusal.map(Addressee::CookieReply),
            ),
            Packet::HandshakeResponse(response) => self.admit(from, datagram).map_or_else(
                || Some(Addressee::Number(Number::of_index(response.receiver_idx))),
                |refusal| refusal.map(Addressee::CookieReply),
            ),
            Packet::PacketCookieReply(reply) => Some(Addressee::Number(Number::of_index(reply.receiver_idx))),
            Packet::PacketData(data) => Some(Addressee::Number(Number::of_index(data.receiver_idx))),
        }
    }

    /// Whether a handshake message is refused, and what is said to that.
    fn admit(&self, from: IpAddr, datagram: &[u8]) -> Option<Option<Vec<u8>>> {
        self.gate.reset_count();
        let mut reply = [0; 64];
        match self.gate.verify_packet(Some(from), datagram, &mut reply) {
            Ok(_) => None,
            Err(TunnResult::WriteToNetwork(reply)) => Some(Some(reply.to_vec())),
            Err(_) => Some(None),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public_key()).finish_non_exhaustive()
    }
}
