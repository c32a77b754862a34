//! Commands that wait for a full channel.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// A queue in front of a bounded channel, so that the loop never waits for a receiver that may be waiting for the loop.
///
/// The queue is bounded by its callers: while [`Self::is_full`], they do not read the channel whose events cause commands.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    queue: VecDeque<T>,
    sender: mpsc::Sender<T>,
}

/// The length at which the queue is full.
const CAPACITY: usize = 256;

impl<T> Outbox<T> {
    pub(super) fn new(sender: mpsc::Sender<T>) -> Self {
        Self { queue: VecDeque::new(), sender }
    }

    pub(super) fn push(&mut self, item: T) {
        self.queue.push_back(item);
        self.send_now();
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= CAPACITY
    }

    pub(super) fn sender(&self) -> &mpsc::Sender<T> {
        &self.sender
    }

    /// Waits until the channel has room and sends as much as possible; never returns if the queue is empty. Cancel-safe.
    pub(super) async fn flush(&mut self) {
        if self.queue.is_empty() {
            return std::future::pending().await;
        }
        match self.sender.reserve().await {
            Ok(permit) => {
                if let Some(item) = self.queue.pop_front() {
                    permit.send(item);
                }
            }
            // The end of the receiver is handled where its events are read.
            Err(_) => self.queue.clear(),
        }
        self.send_now();
    }

    fn send_now(&mut self) {
        while let Ok(permit) = self.sender.try_reserve() {
            let Some(item) = self.queue.pop_front() else { break };
            permit.send(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_is_kept_with_a_slow_receiver() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut outbox = Outbox::new(sender);
        (0..5).for_each(|number| outbox.push(number));
        let mut received = Vec::new();
        while received.len() < 5 {
            tokio::select! {
                biased;
                () = outbox.flush() => {}
                Some(number) = receiver.recv() => received.push(number),
            }
        }
        assert_eq!(received, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn queue_is_cleared_when_the_receiver_is_dropped() {
        let (sender, receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        (0..5).for_each(|number| outbox.push(number));
        drop(receiver);
        outbox.flush().await;
        assert!(outbox.queue.is_empty());
    }
}
