//! Signals of the administrator and the service manager.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use crate::container;

/// A handled signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// TERM or INT: stop.
    Stop,
    /// HUP: reload and rebuild all connections.
    Reload,
}

/// Receives the handled signals.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
    /// CHLD: a process has ended. Only the first process of a container receives it for processes that it did not start.
    child: Option<unix::Signal>,
}

impl Signals {
    /// Installs the handlers. From now on, these signals do not end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            child: container::is_first_process().then(|| unix::signal(SignalKind::child())).transpose()?,
        })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                biased;
                _ = self.interrupt.recv() => return Signal::Stop,
                _ = self.terminate.recv() => return Signal::Stop,
                _ = self.hang_up.recv() => return Signal::Reload,
                () = received(&mut self.child) => container::reap_children(),
            }
        }
    }
}

async fn received(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
