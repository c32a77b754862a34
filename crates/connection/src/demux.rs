//! Recognizing STUN messages. STUN, relayed data and WireGuard arrive on the same sockets.

/// The fixed value in each STUN header (RFC 8489, section 5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const STUN_HEADER: usize = 20;

/// Whether the header is that of a complete STUN message.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    let Some(header) = datagram.first_chunk::<STUN_HEADER>() else { return false };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    header[0] & 0xC0 == 0
        && length.is_multiple_of(4)
        && length + STUN_HEADER == datagram.len()
        && header[4..8] == MAGIC_COOKIE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_is_recognized_by_its_complete_header() {
        let binding = b"\x00\x01\x00\x00\x21\x12\xa4\x42\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b";
        assert!(is_stun(binding));
        for length in 0..binding.len() {
            assert!(!is_stun(&binding[..length]), "cut at {length}");
        }
        let with = |index: usize, value: u8| {
            let mut changed = *binding;
            changed[index] = value;
            changed
        };
        assert!(!is_stun(&with(0, 0x40)));
        assert!(!is_stun(&with(3, 4)));
        assert!(!is_stun(&with(3, 1)));
        assert!(!is_stun(&with(4, 0x20)));
    }
}
