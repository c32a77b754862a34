//! Intervals of connectivity checks.

use std::time::Duration;

/// Intervals of the checks of one pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StunTiming {
    /// Between the first and the second check; it doubles from there.
    pub(crate) initial_interval: Duration,
    /// The maximum interval, and the interval of checks that are answered.
    pub(crate) max_interval: Duration,
    /// Checks without response after which a pair is given up.
    pub(crate) max_attempts: usize,
}

/// The timing of a connection in use and of an idle one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Profile {
    /// While packets are exchanged: a dead path has to be detected soon.
    pub(crate) active: StunTiming,
    /// While idle: just often enough to keep NAT mappings.
    pub(crate) idle: StunTiming,
}

impl Profile {
    /// A client towards a gateway: 16.5 s until a path is given up, 100 s when idle.
    pub(crate) const CLIENT: Self = Self {
        active: StunTiming { max_attempts: 12, ..StunTiming::up_to(Duration::from_millis(1_500)) },
        idle: StunTiming { max_attempts: 4, ..StunTiming::steady(Duration::from_secs(25)) },
    };

    /// A client towards another client: the same timing in use and idle.
    pub(crate) const PEER: Self = Self { active: Self::CLIENT.active, idle: Self::CLIENT.active };

    /// A gateway, which waits long for clients to return: 615.5 s until a path is given up, 1000 s when idle.
    pub(crate) const GATEWAY: Self = Self {
        active: StunTiming { max_attempts: 45, ..StunTiming::up_to(Duration::from_secs(15)) },
        idle: StunTiming { max_attempts: 40, ..StunTiming::steady(Duration::from_secs(25)) },
    };
}

impl StunTiming {
    const fn up_to(max_interval: Duration) -> Self {
        Self { initial_interval: Duration::from_millis(250), max_interval, max_attempts: 0 }
    }

    const fn steady(interval: Duration) -> Self {
        Self { initial_interval: interval, max_interval: interval, max_attempts: 0 }
    }
}

#[cfg(test)]
mod tests {
    use is::stun::StunTiming as AgentTiming;

    use super::*;

    #[test]
    fn paths_are_given_up_after_the_specified_times() {
        let given_up_after = |timing: StunTiming| {
            let initial_rto = timing.initial_interval;
            AgentTiming { initial_rto, max_rto: timing.max_interval, max_retransmits: timing.max_attempts }.timeout()
        };
        assert_eq!(given_up_after(Profile::CLIENT.active), Duration::from_millis(16_500));
        assert_eq!(given_up_after(Profile::CLIENT.idle), Duration::from_secs(100));
        assert_eq!(given_up_after(Profile::GATEWAY.active), Duration::from_millis(615_500));
        assert_eq!(given_up_after(Profile::GATEWAY.idle), Duration::from_secs(1_000));
    }
}
