//! Pending requests: retransmitted at growing intervals, given up after eight seconds.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::Rng;

use super::stun::{Request, TransactionId};

/// Time until the first retransmission. RFC 8489 requires at least 500 ms.
const INITIAL_INTERVAL: Duration = Duration::from_secs(1);
/// The request is given up at the first retransmission that is due this long after the first transmission.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for the response to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A request that waits for its response.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// The request.
    pub(crate) request: Request,
    /// The address of the relay that it was sent to.
    pub(crate) relay: SocketAddr,
    /// When it was sent first.
    pub(crate) started: Instant,
    /// The transmissions. Each has an id of its own, and a response to any of them completes the request.
    attempts: Vec<Attempt>,
    next: NextStep,
}

#[derive(Clone, Debug)]
struct Attempt {
    id: TransactionId,
    had_nonce: bool,
}

/// What happens at the next deadline.
#[derive(Clone, Copy, Debug)]
enum NextStep {
    Retransmit { at: Instant, interval: Duration },
    GiveUp { at: Instant },
}

/// What is due for a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expiry {
    /// Send it again.
    Retransmit,
    /// Give it up: no response arrived in time.
    TimedOut,
}

impl Transaction {
    /// A request that is retransmitted until it is answered or times out.
    pub(crate) fn new(request: Request, relay: SocketAddr, now: Instant) -> Self {
        let next = NextStep::Retransmit { at: now + INITIAL_INTERVAL, interval: INITIAL_INTERVAL };
        Self { request, relay, started: now, attempts: Vec::new(), next }
    }

    /// A request that is sent only once, with a short timeout.
    pub(crate) fn probe(request: Request, relay: SocketAddr, now: Instant) -> Self {
        let next = NextStep::GiveUp { at: now + PROBE_TIMEOUT };
        Self { request, relay, started: now, attempts: Vec::new(), next }
    }

    /// Records a transmission with this `id`.
    pub(crate) fn note_transmission(&mut self, id: TransactionId, had_nonce: bool) {
        self.attempts.push(Attempt { id, had_nonce });
    }

    /// The id of the first transmission, for a retransmission with the same bytes.
    pub(crate) fn first_id(&self) -> Option<TransactionId> {
        self.attempts.first().map(|attempt| attempt.id)
    }

    /// Whether `id` belongs to one of the transmissions.
    pub(crate) fn has_id(&self, id: TransactionId) -> bool {
        self.attempts.iter().any(|attempt| attempt.id == id)
    }

    /// Whether the transmission `id` carried a nonce.
    pub(crate) fn had_nonce(&self, id: TransactionId) -> bool {
        self.attempts.iter().any(|attempt| attempt.id == id && attempt.had_nonce)
    }

    /// What is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Expiry> {
        match self.next {
            NextStep::Retransmit { at, .. } | NextStep::GiveUp { at } if now < at => None,
            NextStep::GiveUp { .. } => Some(Expiry::TimedOut),
            NextStep::Retransmit { .. } if now.duration_since(self.started) >= TRANSACTION_TIMEOUT => {
                Some(Expiry::TimedOut)
            }
            NextStep::Retransmit { interval, .. } => {
                let interval = interval * 3 / 2;
                self.next = NextStep::Retransmit { at: now + interval, interval };
                Some(Expiry::Retransmit)
            }
        }
    }

    pub(crate) fn due(&self) -> Instant {
        match self.next {
            NextStep::Retransmit { at, .. } | NextStep::GiveUp { at } => at,
        }
    }
}

/// A fresh transaction id.
pub(crate) fn random_id(rng: &mut impl Rng) -> TransactionId {
    TransactionId::new(rng.random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    #[test]
    fn request_is_sent_four_times_and_times_out_after_eight_seconds() {
        let start = epoch();
        let relay = SocketAddr::from(([192, 0, 2, 53], 3478));
        let mut transaction = Transaction::new(Request::Binding, relay, start);
        let mut repeated = Vec::new();
        loop {
            let now = transaction.due();
            assert_eq!(transaction.handle_timeout(now - Duration::from_millis(1)), None);
            match transaction.handle_timeout(now) {
                Some(Expiry::Retransmit) => repeated.push((now - start).as_millis()),
                Some(Expiry::TimedOut) => {
                    assert_eq!((now - start).as_millis(), 8_125);
                    break;
                }
                None => panic!("a deadline without effect"),
            }
        }
        assert_eq!(repeated, [1_000, 2_500, 4_750]);
    }

    #[test]
    fn probe_is_sent_once_and_times_out_after_a_second() {
        let start = epoch();
        let relay = SocketAddr::from(([192, 0, 2, 53], 3478));
        let mut transaction = Transaction::probe(Request::Binding, relay, start);
        assert_eq!(transaction.handle_timeout(start + Duration::from_millis(999)), None);
        assert_eq!(transaction.handle_timeout(start + PROBE_TIMEOUT), Some(Expiry::TimedOut));
    }
}
