//! Requests in flight: repeated with growing patience, answered at most once, given up after eight seconds.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::Rng;

use super::stun::{Request, TransactionId};

/// Time until the first repetition. RFC 8489 leaves it to us beyond 500 ms.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// When a repetition would come later than this after the first transmission, the request is dead instead.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a relay that we only want to probe has for its answer.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// One request that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// What was asked.
    pub(crate) request: Request,
    /// Which address of the relay was asked.
    pub(crate) relay: SocketAddr,
    /// When it was sent for the first time.
    pub(crate) started: Instant,
    /// Each transmission is a transaction of its own to the relay, and an answer to any of them is an answer.
    attempts: Vec<Attempt>,
    next: Next,
}

#[derive(Clone, Debug)]
struct Attempt {
    id: TransactionId,
    had_nonce: bool,
}

/// What happens when the time is up.
#[derive(Clone, Copy, Debug)]
enum Next {
    Repeat { at: Instant, interval: Duration },
    Die { at: Instant },
}

/// What a transaction wants when its time is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expiry {
    /// Send it once more.
    Repeat,
    /// Nobody will answer.
    Dead,
}

impl Transaction {
    /// A request that is repeated until it is answered or dead.
    pub(crate) fn new(request: Request, relay: SocketAddr, now: Instant) -> Self {
        let next = Next::Repeat { at: now + FIRST_INTERVAL, interval: FIRST_INTERVAL };
        Self { request, relay, started: now, attempts: Vec::new(), next }
    }

    /// A request that is sent only once and dies soon.
    pub(crate) fn probe(request: Request, relay: SocketAddr, now: Instant) -> Self {
        let next = Next::Die { at: now + PROBE_PATIENCE };
        Self { request, relay, started: now, attempts: Vec::new(), next }
    }

    /// Notes that it is transmitted as `id`.
    pub(crate) fn transmitted(&mut self, id: TransactionId, had_nonce: bool) {
        self.attempts.push(Attempt { id, had_nonce });
    }

    /// The id of a repetition that carries the same bytes, if it was transmitted before.
    pub(crate) fn first_id(&self) -> Option<TransactionId> {
        self.attempts.first().map(|attempt| attempt.id)
    }

    /// Whether `id` is one of its transmissions.
    pub(crate) fn is(&self, id: TransactionId) -> bool {
        self.attempts.iter().any(|attempt| attempt.id == id)
    }

    /// Whether the transmission `id` carried a nonce.
    pub(crate) fn had_nonce(&self, id: TransactionId) -> bool {
        self.attempts.iter().any(|attempt| attempt.id == id && attempt.had_nonce)
    }

    /// What has to happen at `now`, if anything.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Expiry> {
        match self.next {
            Next::Repeat { at, .. } | Next::Die { at } if now < at => None,
            Next::Die { .. } => Some(Expiry::Dead),
            Next::Repeat { .. } if now.duration_since(self.started) >= PATIENCE => Some(Expiry::Dead),
            Next::Repeat { interval, .. } => {
                let interval = interval * 3 / 2;
                self.next = Next::Repeat { at: now + interval, interval };
                Some(Expiry::Repeat)
            }
        }
    }

    pub(crate) fn due(&self) -> Instant {
        match self.next {
            Next::Repeat { at, .. } | Next::Die { at } => at,
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
    fn a_request_is_sent_four_times_and_dead_after_eight_seconds() {
        let start = epoch();
        let relay = SocketAddr::from(([192, 0, 2, 53], 3478));
        let mut transaction = Transaction::new(Request::Binding, relay, start);
        let mut repeated = Vec::new();
        loop {
            let now = transaction.due();
            assert_eq!(transaction.handle_timeout(now - Duration::from_millis(1)), None);
            match transaction.handle_timeout(now) {
                Some(Expiry::Repeat) => repeated.push((now - start).as_millis()),
                Some(Expiry::Dead) => {
                    assert_eq!((now - start).as_millis(), 8_125);
                    break;
                }
                None => panic!("due without effect"),
            }
        }
        assert_eq!(repeated, [1_000, 2_500, 4_750]);
    }

    #[test]
    fn a_probe_is_sent_once_and_dead_after_a_second() {
        let start = epoch();
        let relay = SocketAddr::from(([192, 0, 2, 53], 3478));
        let mut transaction = Transaction::probe(Request::Binding, relay, start);
        assert_eq!(transaction.handle_timeout(start + Duration::from_millis(999)), None);
        assert_eq!(transaction.handle_timeout(start + PROBE_PATIENCE), Some(Expiry::Dead));
    }
}
