//! IP packets of the tunnel: parsing, building, rewriting, and segmentation offload.
//!
//! An [`IpPacket`] is always valid: its length is correct, it is not a fragment, it fits the tunnel's MTU, and its
//! transport header is complete, so no other code checks that again. Checksums are not verified on parsing; rewriting
//! keeps correct checksums correct and wrong ones wrong. This crate does not know peers, routes or policies.
//!
//! * [`IpPacket`], [`Transport`], [`Ecn`] – addresses and headers of a packet
//! * [`icmp`] – ICMP errors, and the packets that they quote
//! * [`control`] – the control messages of Firezone peers inside the tunnel
//! * [`build`] – building packets from their parts
//! * [`gso`] – splitting and coalescing super packets of a TUN device
//!
//! Each thread has a small pool of buffers, so a steady stream of packets allocates no memory.

#![forbid(unsafe_code)]

mod buffer;
mod checksum;
mod ecn;
mod error;
mod headers;
mod ip_header;
mod packet;
mod quoted;
mod rewrite;
#[cfg(test)]
mod testing;
mod transport;

pub mod build;
pub mod control;
pub mod gso;
pub mod icmp;

pub use ecn::Ecn;
pub use error::{InvalidPacket, PacketWriteError};
pub use packet::IpPacket;
pub use transport::Transport;

/// The MTU of the tunnel in bytes. A larger packet is invalid.
pub const MAX_IP_SIZE: usize = 1280;
