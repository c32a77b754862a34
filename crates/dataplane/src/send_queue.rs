//! Batches that wait for the socket. The crate `connection` has formed them.

use std::collections::VecDeque;

use connection::Transmit;

/// The batches in sending order.
#[derive(Default)]
pub(super) struct SendQueue {
    queue: VecDeque<Transmit>,
    /// Bytes of the first batch that were sent already.
    sent: usize,
}

impl SendQueue {
    /// Appends a batch.
    pub(super) fn push(&mut self, transmit: Transmit) {
        if !transmit.payload.is_empty() && transmit.segment > 0 {
            self.queue.push_back(transmit);
        }
    }

    /// The first batch, and those of its datagrams that were not sent yet.
    pub(super) fn front(&self) -> Option<(&Transmit, &[u8])> {
        let front = self.queue.front()?;

        Some((front, front.payload.get(self.sent..)?))
    }

    /// Removes the first `bytes` that were not sent yet, a whole number of datagrams.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.queue.front().is_some_and(|front| self.sent >= front.payload.len()) {
            self.pop_front();
        }
    }

    /// Removes the first batch.
    pub(super) fn pop_front(&mut self) {
        self.sent = 0;
        self.queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use ip_packet::Ecn;

    use super::*;

    fn batch(segment: usize, length: usize) -> Transmit {
        let destination = "192.0.2.1:1".parse().unwrap();
        Transmit { source: None, destination, ecn: Ecn::NotEct, segment, payload: vec![0; length] }
    }

    #[test]
    fn batches_are_sent_whole_and_in_order() {
        let mut queue = SendQueue::default();

        queue.push(batch(100, 300));
        queue.push(batch(100, 250));

        let drained: Vec<_> = std::iter::from_fn(|| {
            let length = queue.front()?.1.len();
            queue.advance(length);
            Some(length)
        })
        .collect();
        assert_eq!(drained, [300, 250]);
    }

    #[test]
    fn sent_datagrams_are_not_sent_again() {
        let mut queue = SendQueue::default();
        queue.push(batch(100, 270));

        queue.advance(100);

        assert_eq!(queue.front().map(|(_, rest)| rest.len()), Some(170));
        queue.advance(170);
        assert!(queue.front().is_none());
    }

    #[test]
    fn empty_datagram_is_not_sent() {
        let mut queue = SendQueue::default();

        queue.push(batch(0, 0));

        assert!(queue.front().is_none());
    }
}
