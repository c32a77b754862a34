//! Datagrams ready to be sent.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use ip_packet::Ecn;

use crate::transmit::Transmit;

/// Datagrams that one batch may have; the kernel's limit.
const MAX_SEGMENTS: usize = 64;
/// Bytes that one batch may have. An IP packet holds 65,535 with its headers.
const MAX_BATCH_BYTES: usize = 65_000;
/// Room for one more datagram of the largest size that we send.
const DATAGRAM_CAPACITY: usize = 1_500;

/// The queue of datagrams, in sending order.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Transmit>);

/// Addresses and congestion mark of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DatagramHeader {
    pub(crate) source: Option<IpAddr>,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Ecn,
}

impl Outbox {
    pub(crate) fn push(&mut self, transmit: Transmit) {
        self.0.push_back(transmit);
    }

    pub(crate) fn pop(&mut self) -> Option<Transmit> {
        self.0.pop_front()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the datagram that `write` appends to a buffer. Nothing is added if it says that there is none.
    pub(crate) fn write(&mut self, header: DatagramHeader, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let open = self.0.back_mut().filter(|last| last.is_open_for(header));
        let Some(last) = open else {
            let mut payload = Vec::with_capacity(DATAGRAM_CAPACITY);
            if !write(&mut payload) {
                return false;
            }
            self.0.push_back(header.with(payload));
            return true;
        };
        let before = last.payload.len();
        if !write(&mut last.payload) {
            last.payload.truncate(before);
            return false;
        }
        if last.payload.len() - before > last.segment {
            let longer = last.payload.split_off(before);
            self.0.push_back(header.with(longer));
        }
        true
    }
}

impl DatagramHeader {
    fn with(self, payload: Vec<u8>) -> Transmit {
        let Self { source, destination, ecn } = self;
        Transmit { source, destination, ecn, segment: payload.len(), payload }
    }
}

impl Transmit {
    /// Whether another datagram can go behind: a shorter one ends a batch.
    fn is_open_for(&self, header: DatagramHeader) -> bool {
        let DatagramHeader { source, destination, ecn } = header;
        self.segment > 0
            && (self.source, self.destination, self.ecn) == (source, destination, ecn)
            && self.payload.len().is_multiple_of(self.segment)
            && self.payload.len() / self.segment < MAX_SEGMENTS
            && self.payload.len() + self.segment <= MAX_BATCH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> DatagramHeader {
        DatagramHeader { source: None, destination: SocketAddr::from(([192, 0, 2, 1], port)), ecn: Ecn::NotEct }
    }

    fn batches(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let mut outbox = Outbox::default();
        for (port, length) in datagrams {
            outbox.write(to(*port), |buffer| {
                buffer.resize(buffer.len() + length, 0);
                true
            });
        }
        std::iter::from_fn(|| outbox.pop()).map(|it| (it.destination.port(), it.segment, it.payload.len())).collect()
    }

    #[test]
    fn equal_datagrams_travel_together() {
        assert_eq!(batches(&[(1, 100), (1, 100), (1, 100)]), [(1, 100, 300)]);
    }

    #[test]
    fn a_shorter_datagram_ends_a_batch_and_a_longer_one_begins_another() {
        assert_eq!(batches(&[(1, 100), (1, 60), (1, 60)]), [(1, 100, 160), (1, 60, 60)]);
        assert_eq!(batches(&[(1, 100), (1, 101)]), [(1, 100, 100), (1, 101, 101)]);
    }

    #[test]
    fn order_is_kept_between_destinations() {
        assert_eq!(batches(&[(1, 9), (2, 9), (1, 9)]), [(1, 9, 9), (2, 9, 9), (1, 9, 9)]);
    }

    #[test]
    fn a_batch_is_no_larger_than_the_kernel_takes() {
        assert_eq!(batches(&[(1, 1312); 50]), [(1, 1312, 49 * 1312), (1, 1312, 1312)]);
        assert_eq!(batches(&[(1, 100); 65]), [(1, 100, 6400), (1, 100, 100)]);
    }

    #[test]
    fn what_is_not_written_leaves_no_trace() {
        let mut outbox = Outbox::default();
        let reject = |buffer: &mut Vec<u8>| {
            buffer.push(1);
            false
        };
        assert!(!outbox.write(to(1), reject));
        assert!(outbox.pop().is_none());
    }
}
