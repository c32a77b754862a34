//! ChannelData framing (RFC 8656, section 12.4), the form without padding that is used over UDP.

/// Bytes before the payload: channel number and length.
pub(crate) const HEADER: usize = 4;

/// Splits a datagram into channel number and payload. The length field has to match exactly.
pub(crate) fn parse(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (header, payload) = datagram.split_first_chunk::<HEADER>()?;
    let number = u16::from_be_bytes([header[0], header[1]]);
    let length = u16::from_be_bytes([header[2], header[3]]);
    ((0x4000..=0x7FFF).contains(&number) && usize::from(length) == payload.len()).then_some((number, payload))
}

/// The header for a payload of `length` bytes; `None` if it is too long for one message.
pub(crate) fn header(number: u16, length: usize) -> Option<[u8; HEADER]> {
    let [n0, n1] = number.to_be_bytes();
    let [l0, l1] = u16::try_from(length).ok()?.to_be_bytes();
    Some([n0, n1, l0, l1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_data_has_no_padding() {
        let message = [0x40, 0x00, 0x00, 0x06, b'f', b'o', b'o', b'b', b'a', b'r'];
        assert_eq!(header(0x4000, 6), Some([0x40, 0x00, 0x00, 0x06]));
        assert_eq!(parse(&message), Some((0x4000, b"foobar".as_slice())));
    }

    #[test]
    fn channel_data_with_wrong_length_is_rejected() {
        assert_eq!(parse(b"\x40\x00\x00\x06foobar\x00"), None);
        assert_eq!(parse(b"\x40\x00\x00\x07foobar"), None);
        for length in 0..10 {
            assert_eq!(parse(&b"\x40\x00\x00\x06foobar"[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn numbers_outside_the_channel_range_are_rejected() {
        assert_eq!(parse(b"\x3f\xff\x00\x00"), None);
        assert_eq!(parse(b"\x80\x00\x00\x00"), None);
        assert_eq!(parse(b"\x7f\xff\x00\x00"), Some((0x7FFF, b"".as_slice())));
    }
}
