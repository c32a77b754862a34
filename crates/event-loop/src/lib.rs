//! What the daemon's loops wait with: a clock, an alarm and descriptors.
//!
//! It owns the kernel's notion of time and readiness. It must not know what the loops do. [`Clock`] tells the time, also
//! across suspend; [`Alarm`] wakes a loop at an instant of it; [`WatchedFd`] wakes it when a descriptor is ready.

mod alarm;
mod clock;
mod watched_fd;

pub use alarm::Alarm;
pub use clock::Clock;
pub use watched_fd::WatchedFd;
