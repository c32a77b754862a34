//! Event sources of the daemon's loops: a clock, an alarm and descriptors.
//!
//! This crate owns the kernel's time and readiness. It must not know what the loops do. [`Clock`] returns the time, suspend
//! included; [`Alarm`] wakes a loop at an instant of it; [`WatchedFd`] wakes it when a descriptor is ready.

mod alarm;
mod clock;
mod watched_fd;

pub use alarm::Alarm;
pub use clock::Clock;
pub use watched_fd::WatchedFd;
