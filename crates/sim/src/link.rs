//! The link between a host and the network.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

/// The properties of a link, equal in both directions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// Minimum delay of a datagram.
    pub latency: Duration,
    /// Additional delay, uniformly distributed.
    pub jitter: Duration,
    /// The share of lost datagrams, 0 to 1.
    pub loss: f64,
    /// The share of datagrams that are delayed behind later ones, 0 to 1.
    pub reordering: f64,
    /// Maximum length of an IP packet in bytes. Longer packets are lost, because fragmentation is disabled.
    pub mtu: usize,
}

/// Additional delay of a reordered datagram.
const REORDERING_DELAY: Duration = Duration::from_millis(20);

impl Link {
    /// A link without loss.
    #[must_use]
    pub const fn good(latency: Duration) -> Self {
        Self { latency, jitter: Duration::ZERO, loss: 0.0, reordering: 0.0, mtu: 1500 }
    }

    /// A bad wireless link: slow, with jitter, loss and reordering.
    #[must_use]
    pub const fn bad() -> Self {
        let ms = Duration::from_millis;
        Self { latency: ms(60), jitter: ms(40), loss: 0.05, reordering: 0.02, mtu: 1400 }
    }

    /// The delay of a datagram; `None` if it is lost. `length` is that of the IP packet in bytes.
    pub(crate) fn delay(&self, length: usize, rng: &mut StdRng) -> Option<Duration> {
        if length > self.mtu || self.loss > 0.0 && rng.random_bool(self.loss) {
            return None;
        }
        let jitter = if self.jitter.is_zero() { Duration::ZERO } else { self.jitter.mul_f64(rng.random()) };
        let late = self.reordering > 0.0 && rng.random_bool(self.reordering);
        Some(self.latency + jitter + if late { REORDERING_DELAY } else { Duration::ZERO })
    }
}
