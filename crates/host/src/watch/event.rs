//! What the watch reports.

use model::Resolver;

/// A change of the host. After each one [`Host::reapply`](crate::Host::reapply) restores our own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The uplink changed: there is another default route, or the address on its link is gone. Connections have to be
    /// re-established.
    NetworkChanged,
    /// There is no default route any more, or there was none from the beginning. [`Event::NetworkChanged`] follows when
    /// there is one again.
    NetworkLost,
    /// Whether the network has a captive portal. Assumed to be false until the first report.
    CaptivePortal(bool),
    /// Whether the machine is about to suspend. After the resume, [`Event::NetworkChanged`] or [`Event::NetworkLost`]
    /// follows.
    Asleep(bool),
    /// The host's own resolvers changed.
    ResolversChanged(Vec<Resolver>),
    /// Another program changed our settings, or those that we copy: only [`Host::reapply`](crate::Host::reapply) is due.
    Drifted,
}

impl Event {
    /// The name for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NetworkChanged => "network-changed",
            Self::NetworkLost => "network-lost",
            Self::CaptivePortal(_) => "captive-portal",
            Self::Asleep(_) => "asleep",
            Self::ResolversChanged(_) => "resolvers-changed",
            Self::Drifted => "drifted",
        }
    }
}
