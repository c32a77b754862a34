//! Reports changes of the host by other programs.
//!
//! One task ([`watcher`]) listens to rtnetlink's multicast groups, to inotify ([`file`]) and to signals on the system bus
//! ([`services`]). The kernel does not report changes in our terms, so its notification only starts a short delay; then the
//! task reads the state and compares it with the last one: [`uplink`] is what sessions depend on, [`managed_state`] what our
//! settings depend on. No [`event`] is reported twice.

mod event;
mod file;
mod managed_state;
mod services;
mod uplink;
mod watcher;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::dns::Dns;
use super::kernel::Kernel;
use super::netlink::KernelEvents;
use file::FileWatch;
use watcher::Watcher;

pub use event::Event;

/// Unread events. A daemon that leaves more unread is stuck; then the watch waits.
const EVENT_QUEUE: usize = 16;

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Event>,
    first_read: Option<oneshot::Receiver<()>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Must be called within a runtime.
    pub(super) fn start(interface: &str, dns: Dns) -> anyhow::Result<Self> {
        let kernel_events = KernelEvents::open().context("listen to rtnetlink")?;
        let kernel = Kernel::open().context("open a netlink socket")?;
        let file = FileWatch::new(dns.file().path())
            .inspect_err(|error| tracing::warn!(%error, "changes of the host's resolvers will not be noticed"))
            .ok();
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let watcher = Watcher::new(interface.to_owned(), kernel, dns, sender);
        let (read_done, first_read) = oneshot::channel();
        let task = tokio::spawn(watcher.run(kernel_events, file, read_done));
        Ok(Self { events, first_read: Some(first_read), task })
    }

    /// Waits until the initial state is known. Only changes after it are reported.
    pub async fn ready(&mut self) {
        if let Some(first_read) = self.first_read.take() {
            // An error means that the task has ended; the next event reports that.
            let _ = first_read.await;
        }
    }

    /// The next event. Cancel-safe. `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
