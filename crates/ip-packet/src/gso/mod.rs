//! Super packets: many packets of one flow that pass a TUN device as one.
//!
//! A device that was opened with a virtio-net header puts [`Header`] before each packet. [`split`] takes what was read
//! apart; [`Coalescer`] puts together what is to be written.

mod coalesce;
mod header;
mod split;
#[cfg(test)]
mod tests;

pub use coalesce::{Coalescer, SuperPacket};
pub use header::{Header, Kind, UnknownHeader};
pub use split::split;
