//! Notices when the host changes under us.

use std::net::IpAddr;

use tokio::sync::mpsc;

/// Something the daemon should know. After each of them [`super::Host::reapply`] brings our own settings back in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Our way to the outside is another one: new default route, or new addresses on its link. Sessions start over.
    NetworkChanged,
    /// There is no default route any more. [`Event::NetworkChanged`] follows when there is one again.
    NetworkLost,
    /// The host's own resolvers are others now.
    ResolversChanged(Vec<IpAddr>),
    /// Somebody else touched what we keep in step with or what is ours: only [`super::Host::reapply`] is due.
    Drifted,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Event>,
}

impl Watch {
    pub(super) fn start(_: &str, _: &std::path::Path) -> anyhow::Result<Self> {
        let (_, events) = mpsc::channel(1);
        Ok(Self { events })
    }

    /// The next event. Cancel-safe. `None` when the watch has died.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}
