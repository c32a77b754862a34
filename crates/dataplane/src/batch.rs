//! Datagrams that leave together.
//!
//! The kernel sends many datagrams in one call if they have the same addresses, congestion marks and length; only the last
//! one may be shorter. This queue puts them together.

use std::{collections::VecDeque, net::SocketAddr};

use connection::Transmit;

/// Datagrams in one batch at most, in every kernel that can send batches.
const MAX_SEGMENTS: usize = 64;
/// The largest length in an IP header.
const MAX_SIZE: usize = 65_535;
/// How many batches back a destination is looked for. One further back is not continued, which changes no order.
const LOOK_BACK: usize = 16;
/// Recycled buffers, enough for one full round.
const KEPT: usize = 64;

/// A queue of batches.
///
/// A datagram joins only the newest batch for its destination, and batches leave in the order of their first datagrams,
/// so datagrams for one destination stay in order.
#[derive(Default)]
pub(super) struct Batches {
    queue: VecDeque<Transmit>,
    /// How many bytes of the front have left already.
    sent: usize,
    free: Vec<Vec<u8>>,
}

impl Batches {
    /// Adds a datagram or a ready batch.
    pub(super) fn push(&mut self, mut transmit: Transmit) {
        if transmit.payload.is_empty() || transmit.segment == 0 {
            return;
        }
        if let Some(batch) = self.newest_for(&transmit)
            && can_append(batch, &transmit)
        {
            batch.payload.extend_from_slice(&transmit.payload);
            self.recycle(transmit.payload);
            return;
        }
        // A datagram of full size is probably not the last one.
        let expects_more = transmit.segment == transmit.payload.len() && transmit.segment > 1000;
        if expects_more && let Some(mut buffer) = self.free.pop() {
            buffer.extend_from_slice(&transmit.payload);
            transmit.payload = buffer;
        }
        self.queue.push_back(transmit);
    }

    /// The oldest batch, and those of its datagrams that have not left yet.
    pub(super) fn front(&self) -> Option<(&Transmit, &[u8])> {
        let front = self.queue.front()?;

        Some((front, front.payload.get(self.sent..)?))
    }

    /// Removes the first `bytes` of what has not left yet, a whole number of datagrams.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.queue.front().is_some_and(|front| self.sent >= front.payload.len()) {
            self.pop_front();
        }
    }

    /// Removes the oldest batch.
    pub(super) fn pop_front(&mut self) {
        self.sent = 0;
        if let Some(Transmit { payload, .. }) = self.queue.pop_front() {
            self.recycle(payload);
        }
    }

    fn newest_for(&mut self, transmit: &Transmit) -> Option<&mut Transmit> {
        let key = |it: &Transmit| (it.destination, it.source, it.ecn);

        self.queue.iter_mut().rev().take(LOOK_BACK).find(|batch| key(batch) == key(transmit))
    }

    fn recycle(&mut self, mut payload: Vec<u8>) {
        if self.free.len() < KEPT && payload.capacity() >= MAX_SIZE / 2 {
            payload.clear();
            self.free.push(payload);
        }
    }
}

/// How many bytes a batch of such datagrams may have.
pub(super) fn capacity(destination: SocketAddr, segment: usize) -> usize {
    // The largest headers of IP, and that of UDP.
    let headers = if destination.is_ipv4() { 60 + 8 } else { 40 + 8 };

    segment * MAX_SEGMENTS.min((MAX_SIZE - headers) / segment).max(1)
}

fn can_append(batch: &Transmit, transmit: &Transmit) -> bool {
    let ends_with_shorter = !batch.payload.len().is_multiple_of(batch.segment);
    let is_single = transmit.payload.len() == transmit.segment;
    let fits_in = if is_single { transmit.segment <= batch.segment } else { transmit.segment == batch.segment };

    !ends_with_shorter
        && fits_in
        && batch.payload.len() + transmit.payload.len() <= capacity(batch.destination, batch.segment)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ip_packet::Ecn;

    use super::*;

    #[test]
    fn equal_datagrams_to_one_destination_leave_together() {
        let mut batches = Batches::default();

        batches.push(datagram("192.0.2.1:1", 100));
        batches.push(datagram("192.0.2.1:1", 100));

        assert_eq!(drain(&mut batches), [(100, 200)]);
    }

    #[test]
    fn a_shorter_datagram_is_the_last_of_its_batch() {
        let mut batches = Batches::default();

        for length in [100, 40, 40, 100] {
            batches.push(datagram("192.0.2.1:1", length));
        }

        assert_eq!(drain(&mut batches), [(100, 140), (40, 40), (100, 100)]);
    }

    #[test]
    fn a_longer_datagram_starts_a_batch() {
        let mut batches = Batches::default();

        batches.push(datagram("192.0.2.1:1", 100));
        batches.push(datagram("192.0.2.1:1", 101));

        assert_eq!(drain(&mut batches), [(100, 100), (101, 101)]);
    }

    #[test]
    fn destination_source_and_mark_are_never_mixed() {
        let mut batches = Batches::default();
        let one = datagram("192.0.2.1:1", 100);

        batches.push(one.clone());
        batches.push(Transmit { destination: "192.0.2.1:2".parse().unwrap(), ..one.clone() });
        batches.push(Transmit { source: Some(IpAddr::from([127, 0, 0, 1])), ..one.clone() });
        batches.push(Transmit { ecn: Ecn::Ect0, ..one });

        assert_eq!(drain(&mut batches).len(), 4);
    }

    #[test]
    fn only_the_newest_batch_of_a_destination_grows() {
        let mut batches = Batches::default();

        for (to, length) in [("192.0.2.1:1", 100), ("192.0.2.1:1", 200), ("192.0.2.2:1", 100), ("192.0.2.1:1", 100)] {
            batches.push(datagram(to, length));
        }

        assert_eq!(drain(&mut batches), [(100, 100), (200, 300), (100, 100)]);
    }

    #[test]
    fn a_batch_never_exceeds_what_an_ip_packet_can_hold() {
        for (to, length, most) in [
            ("192.0.2.1:1", 1312, 49),
            ("192.0.2.1:1", 1316, 49),
            ("[2001:db8::1]:1", 1316, 49),
            ("192.0.2.1:1", 32, 64),
            ("192.0.2.1:1", 65_000, 1),
        ] {
            let mut batches = Batches::default();
            for _ in 0..most + 1 {
                batches.push(datagram(to, length));
            }

            assert_eq!(drain(&mut batches), [(length, most * length), (length, length)]);
        }
    }

    #[test]
    fn a_ready_batch_stays_whole_and_may_grow() {
        let mut batches = Batches::default();
        let ready = Transmit { segment: 100, ..datagram("192.0.2.1:1", 300) };

        batches.push(ready.clone());
        batches.push(datagram("192.0.2.1:1", 100));
        batches.push(ready);
        batches.push(datagram("192.0.2.1:1", 50));
        batches.push(datagram("192.0.2.1:1", 50));

        assert_eq!(drain(&mut batches), [(100, 750), (50, 50)]);
    }

    #[test]
    fn what_has_left_is_not_sent_again() {
        let mut batches = Batches::default();
        batches.push(datagram("192.0.2.1:1", 100));
        batches.push(datagram("192.0.2.1:1", 100));

        batches.advance(100);
        batches.push(datagram("192.0.2.1:1", 70));

        assert_eq!(drain(&mut batches), [(100, 170)]);
        assert!(batches.front().is_none());
    }

    #[test]
    fn an_empty_datagram_is_not_sent() {
        let mut batches = Batches::default();

        batches.push(datagram("192.0.2.1:1", 0));

        assert!(batches.front().is_none());
    }

    fn datagram(destination: &str, length: usize) -> Transmit {
        Transmit {
            source: None,
            destination: destination.parse().unwrap(),
            ecn: Ecn::NotEct,
            segment: length,
            payload: vec![0; length],
        }
    }

    /// Segment and total length of each batch.
    fn drain(batches: &mut Batches) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| {
            let (batch, rest) = batches.front()?;
            let lengths = (batch.segment, rest.len());
            batches.advance(lengths.1);
            Some(lengths)
        })
        .collect()
    }
}
