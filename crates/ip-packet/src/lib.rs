//! IP packets as the tunnel carries them.
//!
//! An [`IpPacket`] is valid once it exists: its length is right, it is no fragment, it fits the tunnel's MTU, and its
//! transport header is complete. Nobody re-checks that. Checksums are not verified on the way in; every edit keeps a
//! right checksum right and a wrong one wrong.
//!
//! * [`IpPacket`], [`Transport`], [`Ecn`] – what a packet says
//! * [`icmp`] – errors that we send, and packets that are quoted in errors of others
//! * [`control`] – the messages that Firezone's peers exchange inside the tunnel
//! * [`build`] – packets from their parts
//! * [`gso`] – super packets of a TUN device: apart and together again
//!
//! Bytes come from a small pool of buffers per thread, so that a steady stream of packets allocates nothing.

#![forbid(unsafe_code)]

mod buffer;
mod checksum;
mod ecn;
mod headers;
mod packet;
mod rewrite;
#[cfg(test)]
mod testing;
mod transport;

pub mod build;
pub mod control;
pub mod gso;
pub mod icmp;

pub use ecn::Ecn;
pub use headers::Invalid;
pub use packet::IpPacket;
pub use rewrite::Unsuitable;
pub use transport::Transport;

/// The MTU of the tunnel. A larger packet is invalid, whatever it came through.
pub const MAX_IP_SIZE: usize = 1280;
