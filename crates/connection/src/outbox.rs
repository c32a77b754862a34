//! The queue of datagrams to send. Only here are datagrams batched.
//!
//! The kernel sends many datagrams in one call if they have the same addresses, congestion mark and length; only the last
//! one may be shorter. Packets are encrypted directly into the batch that they join, so batching copies nothing.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use ip_packet::Ecn;

use crate::transmit::Transmit;

/// Maximum number of datagrams in one batch, in every kernel that supports batches.
const MAX_SEGMENTS: usize = 64;
/// Maximum length of an IP packet in bytes.
const MAX_IP_PACKET: usize = 65_535;
/// Number of batches, from the newest on, that are searched for one with the same header.
const LOOK_BACK: usize = 16;
/// Initial capacity of a batch in bytes: one datagram of the maximum length.
const DATAGRAM_CAPACITY: usize = 1_500;

/// The queue of datagrams, in sending order.
///
/// A datagram joins only the newest batch with its header, so datagrams with equal headers stay in order. A
/// [pushed](Self::push) message stays in order with everything else.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Queued>);

#[derive(Debug)]
struct Queued {
    transmit: Transmit,
    /// Whether later datagrams may not be sent before this one.
    is_barrier: bool,
}

/// Addresses and congestion mark of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DatagramHeader {
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Ecn,
}

impl Outbox {
    /// Adds a message that is not batched. Everything added later is sent after it.
    pub(crate) fn push(&mut self, transmit: Transmit) {
        self.0.push_back(Queued { transmit, is_barrier: true });
    }

    pub(crate) fn pop(&mut self) -> Option<Transmit> {
        self.0.pop_front().map(|queued| queued.transmit)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the datagram that `write` appends to a buffer. Adds nothing if `write` returns `false`.
    pub(crate) fn write(&mut self, header: DatagramHeader, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let Some(batch) = self.newest_batch(header).filter(|batch| batch.has_room()) else {
            let mut payload = Vec::with_capacity(DATAGRAM_CAPACITY);
            let is_written = write(&mut payload);
            if is_written {
                self.start_batch(header, payload);
            }
            return is_written;
        };
        let before = batch.payload.len();
        if !write(&mut batch.payload) {
            batch.payload.truncate(before);
            return false;
        }
        if batch.payload.len() - before > batch.segment {
            let longer = batch.payload.split_off(before);
            self.start_batch(header, longer);
        }
        true
    }

    fn newest_batch(&mut self, header: DatagramHeader) -> Option<&mut Transmit> {
        let newest = self.0.iter_mut().rev().take(LOOK_BACK).take_while(|queued| !queued.is_barrier);
        newest.map(|queued| &mut queued.transmit).find(|transmit| transmit.has_header(header))
    }

    fn start_batch(&mut self, header: DatagramHeader, payload: Vec<u8>) {
        let DatagramHeader { source, destination, ecn } = header;
        let transmit = Transmit { source, destination, ecn, segment: payload.len(), payload };
        self.0.push_back(Queued { transmit, is_barrier: false });
    }
}

impl Transmit {
    fn has_header(&self, header: DatagramHeader) -> bool {
        (self.source, self.destination, self.ecn) == (header.source, header.destination, header.ecn)
    }

    /// Whether another datagram may be appended. A shorter one ends a batch.
    fn has_room(&self) -> bool {
        // The largest headers of IP, and that of UDP.
        let headers = if self.destination.is_ipv4() { 60 + 8 } else { 40 + 8 };
        let length = self.payload.len();
        self.segment > 0
            && length.is_multiple_of(self.segment)
            && length / self.segment < MAX_SEGMENTS
            && length + self.segment <= MAX_IP_PACKET - headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(destination: &str) -> DatagramHeader {
        DatagramHeader { source: None, destination: destination.parse().unwrap(), ecn: Ecn::NotEct }
    }

    fn write(outbox: &mut Outbox, header: DatagramHeader, length: usize) {
        let is_written = outbox.write(header, |buffer| {
            buffer.resize(buffer.len() + length, 0);
            true
        });
        assert!(is_written);
    }

    /// Port, segment and total length of each batch.
    fn drain(outbox: &mut Outbox) -> Vec<(u16, usize, usize)> {
        std::iter::from_fn(|| outbox.pop()).map(|it| (it.destination.port(), it.segment, it.payload.len())).collect()
    }

    fn batches(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let mut outbox = Outbox::default();
        for (port, length) in datagrams {
            write(&mut outbox, to(&format!("192.0.2.1:{port}")), *length);
        }
        drain(&mut outbox)
    }

    #[test]
    fn datagrams_of_equal_size_form_one_batch() {
        assert_eq!(batches(&[(1, 100), (1, 100)]), [(1, 100, 200)]);
        assert_eq!(batches(&[(1, 100), (1, 100), (1, 100)]), [(1, 100, 300)]);
    }

    #[test]
    fn shorter_datagram_ends_a_batch() {
        assert_eq!(batches(&[(1, 100), (1, 60), (1, 60)]), [(1, 100, 160), (1, 60, 60)]);
        assert_eq!(batches(&[(1, 100), (1, 40), (1, 40), (1, 100)]), [(1, 100, 140), (1, 40, 40), (1, 100, 100)]);
    }

    #[test]
    fn longer_datagram_starts_a_batch() {
        assert_eq!(batches(&[(1, 100), (1, 101)]), [(1, 100, 100), (1, 101, 101)]);
    }

    #[test]
    fn datagrams_with_different_headers_are_not_batched() {
        let mut outbox = Outbox::default();
        let header = to("192.0.2.1:1");
        write(&mut outbox, header, 100);
        write(&mut outbox, to("192.0.2.1:2"), 100);
        write(&mut outbox, DatagramHeader { source: Some(IpAddr::from([127, 0, 0, 1])), ..header }, 100);
        write(&mut outbox, DatagramHeader { ecn: Ecn::Ect0, ..header }, 100);
        assert_eq!(drain(&mut outbox).len(), 4);
    }

    #[test]
    fn interleaved_destinations_have_a_batch_each() {
        assert_eq!(batches(&[(1, 9), (2, 9), (1, 9)]), [(1, 9, 18), (2, 9, 9)]);
    }

    #[test]
    fn only_the_newest_batch_of_a_destination_grows() {
        let datagrams = [(1, 100), (1, 200), (2, 100), (1, 100)];
        assert_eq!(batches(&datagrams), [(1, 100, 100), (1, 200, 300), (2, 100, 100)]);
    }

    #[test]
    fn datagrams_after_a_pushed_message_are_sent_after_it() {
        let mut outbox = Outbox::default();
        let header = to("192.0.2.1:1");
        write(&mut outbox, header, 9);
        outbox.push(Transmit::control(None, header.destination, vec![0; 20]));
        write(&mut outbox, header, 9);
        write(&mut outbox, header, 9);
        assert_eq!(drain(&mut outbox), [(1, 9, 9), (1, 20, 20), (1, 9, 18)]);
    }

    #[test]
    fn batch_fits_into_one_ip_packet() {
        for (destination, length, most) in [
            ("192.0.2.1:1", 1312, 49),
            ("192.0.2.1:1", 1316, 49),
            ("[2001:db8::1]:1", 1316, 49),
            ("192.0.2.1:1", 100, 64),
            ("192.0.2.1:1", 32, 64),
            ("192.0.2.1:1", 65_000, 1),
        ] {
            let mut outbox = Outbox::default();
            for _ in 0..most + 1 {
                write(&mut outbox, to(destination), length);
            }
            assert_eq!(drain(&mut outbox), [(1, length, most * length), (1, length, length)]);
        }
    }

    #[test]
    fn datagram_that_is_not_written_leaves_no_trace() {
        let mut outbox = Outbox::default();
        let reject = |buffer: &mut Vec<u8>| {
            buffer.push(1);
            false
        };
        assert!(!outbox.write(to("192.0.2.1:1"), reject));
        assert!(outbox.pop().is_none());
        write(&mut outbox, to("192.0.2.1:1"), 9);
        assert!(!outbox.write(to("192.0.2.1:1"), reject));
        assert_eq!(drain(&mut outbox), [(1, 9, 9)]);
    }
}
