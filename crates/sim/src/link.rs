//! The cable between a host and the internet.

use std::time::Duration;

use rand::{Rng as _, rngs::StdRng};

/// How good a cable is. Both directions are alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// How long a datagram takes at least.
    pub latency: Duration,
    /// How much longer it may take, evenly spread.
    pub jitter: Duration,
    /// The share of datagrams that vanish, 0 to 1.
    pub loss: f64,
    /// The share of datagrams that are overtaken by later ones, 0 to 1.
    pub reordering: f64,
    /// The longest IP packet that fits through, in bytes; longer ones vanish, as we forbid fragments.
    pub mtu: usize,
}

/// How far behind a datagram falls when it is overtaken.
const OVERTAKEN: Duration = Duration::from_millis(20);

impl Link {
    /// A cable without faults.
    #[must_use]
    pub const fn good(latency: Duration) -> Self {
        Self { latency, jitter: Duration::ZERO, loss: 0.0, reordering: 0.0, mtu: 1500 }
    }

    /// Bad air: slow, shaky, and now and then nothing arrives.
    #[must_use]
    pub const fn bad() -> Self {
        let ms = Duration::from_millis;
        Self { latency: ms(60), jitter: ms(40), loss: 0.05, reordering: 0.02, mtu: 1400 }
    }

    /// How long this datagram takes; `None` if it does not arrive. `length` is that of the IP packet.
    pub(crate) fn delay(&self, length: usize, rng: &mut StdRng) -> Option<Duration> {
        if length > self.mtu || self.loss > 0.0 && rng.random_bool(self.loss) {
            return None;
        }
        let jitter = if self.jitter.is_zero() { Duration::ZERO } else { self.jitter.mul_f64(rng.random()) };
        let late = self.reordering > 0.0 && rng.random_bool(self.reordering);
        Some(self.latency + jitter + if late { OVERTAKEN } else { Duration::ZERO })
    }
}
