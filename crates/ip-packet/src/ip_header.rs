//! IP headers of packets that are built here.

use std::net::IpAddr;

use crate::{
    PacketWriteError,
    buffer::Buffer,
    checksum::Sum,
    headers::{IPV4_HEADER, IPV6_HEADER},
};

/// An IP header, in a buffer with room for a payload of `payload` bytes.
pub(crate) fn ip_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: u16,
    ttl: u8,
) -> Result<Buffer, PacketWriteError> {
    let mut bytes = Buffer::empty();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = payload.checked_add(IPV4_HEADER as u16).ok_or(PacketWriteError::TooLarge)?;
            bytes.resize(IPV4_HEADER, 0);
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[8] = ttl;
            bytes[9] = protocol;
            bytes[12..16].copy_from_slice(&source.octets());
            bytes[16..20].copy_from_slice(&destination.octets());
            let checksum = Sum::default().add(&bytes).checksum();
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.resize(IPV6_HEADER, 0);
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
            bytes[6] = protocol;
            bytes[7] = ttl;
            bytes[8..24].copy_from_slice(&source.octets());
            bytes[24..40].copy_from_slice(&destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(PacketWriteError::Version),
    }

    Ok(bytes)
}
