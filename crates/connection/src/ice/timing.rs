//! How patient connectivity checks are.

use std::time::Duration;

/// Intervals of the checks of one pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Patience {
    /// From the first check to the second; then it doubles.
    pub(crate) first_interval: Duration,
    /// The longest interval, and that of checks that are answered.
    pub(crate) longest_interval: Duration,
    /// Checks without an answer after which a pair is given up.
    pub(crate) attempts: usize,
}

/// How patient a connection is while it is used and while it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Profile {
    /// While packets travel: a dead path has to be found soon.
    pub(crate) active: Patience,
    /// While none do: just often enough that NATs remember us.
    pub(crate) idle: Patience,
}

impl Profile {
    /// A client towards a gateway: 16.5 s until a path is given up, 100 s when idle.
    pub(crate) const CLIENT: Self = Self {
        active: Patience { attempts: 12, ..Patience::up_to(Duration::from_millis(1_500)) },
        idle: Patience { attempts: 4, ..Patience::steady(Duration::from_secs(25)) },
    };

    /// A client towards another client: it does not matter whether the connection is used.
    pub(crate) const PEER: Self = Self { active: Self::CLIENT.active, idle: Self::CLIENT.active };

    /// A gateway, which waits long for clients to come back: 615.5 s until a path is given up, 1000 s when idle.
    pub(crate) const GATEWAY: Self = Self {
        active: Patience { attempts: 45, ..Patience::up_to(Duration::from_secs(15)) },
        idle: Patience { attempts: 40, ..Patience::steady(Duration::from_secs(25)) },
    };
}

impl Patience {
    const fn up_to(longest_interval: Duration) -> Self {
        Self { first_interval: Duration::from_millis(250), longest_interval, attempts: 0 }
    }

    const fn steady(interval: Duration) -> Self {
        Self { first_interval: interval, longest_interval: interval, attempts: 0 }
    }
}

#[cfg(test)]
mod tests {
    use is::stun::StunTiming;

    use super::*;

    #[test]
    fn paths_are_given_up_after_the_specified_times() {
        let given_up_after = |patience: Patience| {
            let initial_rto = patience.first_interval;
            StunTiming { initial_rto, max_rto: patience.longest_interval, max_retransmits: patience.attempts }.timeout()
        };
        assert_eq!(given_up_after(Profile::CLIENT.active), Duration::from_millis(16_500));
        assert_eq!(given_up_after(Profile::CLIENT.idle), Duration::from_secs(100));
        assert_eq!(given_up_after(Profile::GATEWAY.active), Duration::from_millis(615_500));
        assert_eq!(given_up_after(Profile::GATEWAY.idle), Duration::from_secs(1_000));
    }
}
