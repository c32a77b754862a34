//! Wakes a loop at a deadline, even if it passes while the machine is suspended.

use std::{
    io,
    time::{Duration, Instant},
};

use model::Deadline;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;

use crate::{clock::Clock, watched_fd::WatchedFd};

/// Delay of a deadline in the past. Without it a deadline that stays in the past would make the loop spin.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// A timer of the kernel. The runtime's own timers stop during suspend; this one fires on resume if it is due.
pub struct Alarm {
    timer: WatchedFd,
    clock: Clock,
    /// What the timer is set to.
    set_to: Option<Instant>,
}

impl Alarm {
    /// Must be called within the runtime of the loop.
    ///
    /// # Errors
    /// The kernel cannot create a timer.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;

        Ok(Self { timer: WatchedFd::new(timer, Interest::READABLE)?, clock, set_to: None })
    }

    /// Makes [`rings`](Self::rings) return at the deadline or earlier.
    ///
    /// # Errors
    /// The kernel cannot set the timer.
    pub fn set(&mut self, due: Option<Deadline>, now: Instant) -> io::Result<()> {
        let Some(Deadline { at, reason }) = due else {
            return Ok(());
        };
        let at = if at <= now {
            tracing::debug!(reason, "a deadline stays in the past");
            now + MIN_DELAY
        } else {
            at
        };
        // An early wake-up is cheap and happens once; setting the timer for each packet is expensive.
        if self.set_to.is_some_and(|earlier| earlier <= at) {
            return Ok(());
        }
        let value = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(self.clock.since_boot(at))
                .unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value)?;
        self.set_to = Some(at);

        Ok(())
    }

    /// Waits for the deadline. Cancel-safe: nothing is consumed before the deadline.
    ///
    /// # Errors
    /// The timer cannot be read.
    pub async fn rings(&mut self) -> io::Result<()> {
        loop {
            self.timer.readable().await?;
            // The number of expirations is irrelevant.
            let mut rings = [0; 8];
            match self.timer.read(&mut rings) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.set_to = None;
                    return result.map(drop);
                }
            }
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm").field("set_to", &self.set_to).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alarm_fires_at_the_deadline_and_not_before() {
        let clock = Clock::new();
        let mut alarm = Alarm::new(clock).unwrap();
        let deadline = clock.now() + Duration::from_millis(20);

        alarm.set(due(deadline), clock.now()).unwrap();
        alarm.rings().await.unwrap();

        assert!(clock.now() >= deadline);
    }

    #[tokio::test]
    async fn earlier_deadline_replaces_a_later_one() {
        let clock = Clock::new();
        let mut alarm = Alarm::new(clock).unwrap();
        let now = clock.now();

        alarm.set(due(now + Duration::from_secs(3600)), now).unwrap();
        alarm.set(due(now + Duration::from_millis(1)), now).unwrap();

        alarm.rings().await.unwrap();
    }

    #[tokio::test]
    async fn past_deadline_fires_after_the_minimum_delay() {
        let clock = Clock::new();
        let mut alarm = Alarm::new(clock).unwrap();
        let now = clock.now();

        alarm.set(due(now), now).unwrap();
        alarm.rings().await.unwrap();

        assert!(clock.now() >= now + MIN_DELAY);
    }

    fn due(at: Instant) -> Option<Deadline> {
        Some(Deadline { at, reason: "test" })
    }
}
