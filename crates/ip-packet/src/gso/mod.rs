//! Super packets: many packets of one flow that pass a TUN device as one.
//!
//! A device opened with `IFF_VNET_HDR` puts a [`Header`] before each packet. [`split`] splits super packets that were read;
//! [`Coalescer`] joins packets to be written.

mod coalesce;
mod header;
mod split;
#[cfg(test)]
mod tests;

pub use coalesce::{Coalescer, SuperPacket};
pub use header::{GsoType, Header, UnknownHeader};
pub use split::split;
