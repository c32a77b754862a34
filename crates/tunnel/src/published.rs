//! The values that were last published to the owner of the tunnel, so that only real changes are published.
//!
//! Each published interface makes the host change its settings, and each list makes programs drop their name caches.

use std::{collections::BTreeSet, net::IpAddr, net::Ipv4Addr, net::Ipv6Addr};

use ipnet::IpNet;

/// The desired configuration of the network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// The client's IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// The client's IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
    /// The sentinels in order of preference, each with its resolver.
    pub sentinels: Vec<(IpAddr, dns::Upstream)>,
    /// The search domain of single-label names.
    pub search_domain: Option<String>,
    /// The networks that are routed into the tunnel.
    pub routes: BTreeSet<IpNet>,
}

/// The last published value, and the next one if it differs.
#[derive(Debug)]
pub(crate) struct Published<T> {
    last_published: Option<T>,
    next: Option<T>,
    is_stale: bool,
}

impl<T> Default for Published<T> {
    fn default() -> Self {
        Self { last_published: None, next: None, is_stale: false }
    }
}

impl<T: Clone + PartialEq> Published<T> {
    /// The owner assumes `last_published` until another value is published.
    pub(crate) fn with_initial(last_published: T) -> Self {
        Self { last_published: Some(last_published), next: None, is_stale: false }
    }

    /// Marks the value as possibly changed.
    pub(crate) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// Computes the value with `current` if it is marked, and keeps it for publication if it differs.
    pub(crate) fn update(&mut self, current: impl FnOnce() -> Option<T>) {
        if std::mem::take(&mut self.is_stale) {
            self.next = current().filter(|current| self.last_published.as_ref() != Some(current));
        }
    }

    /// The next value to publish.
    pub(crate) fn poll(&mut self) -> Option<T> {
        let next = self.next.take()?;
        self.last_published = Some(next.clone());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changed_values_are_published() {
        let mut value = Published::default();
        value.update(|| Some(1));
        assert_eq!(value.poll(), None, "nothing was marked");

        value.mark_stale();
        value.update(|| Some(1));
        assert_eq!(value.poll(), Some(1));

        value.mark_stale();
        value.update(|| Some(2));
        value.mark_stale();
        value.update(|| Some(1));
        assert_eq!(value.poll(), None, "it changed and changed back");
    }
}
