//! WireGuard: `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s` between us and each peer, without I/O and without a clock.
//!
//! The session layer is our own; every cryptographic operation is that of a well-kept library. The engines that one can buy
//! read the system's clocks themselves and have to be looked at several times a second, which gives neither exact
//! deadlines nor timestamps that survive a clock set back; they lose packets while a session is renewed, and their replay
//! window is too narrow for batched sending over changing paths. What is here interoperates with them (`interop`).
//!
//! * `identity` – our key, the guard in front of it, and whose a message is
//! * `tunnel` – the sessions with one peer, and their timers
//! * `initiation`, `response` – the two messages of a handshake; `noise` – the state that they transform
//! * `session` – keys of one session, with its `replay` window
//! * `gate`, `cookie` – who may make us compute under load; `timestamp` – no handshake twice
//! * `message` – where what stands in a message; `index` – the numbers of sessions

mod cookie;
mod gate;
mod identity;
mod index;
mod initiation;
#[cfg(test)]
mod interop;
mod message;
mod noise;
mod replay;
mod response;
mod session;
#[cfg(test)]
mod tests;
mod timers;
mod timestamp;
mod tunnel;

pub(crate) use identity::{Addressee, Identity};
pub(crate) use index::Number;
pub(crate) use initiation::Introduction;
pub(crate) use session::Refused;
pub(crate) use timers::Attempt;
pub(crate) use tunnel::{Opened, Tunnel};
