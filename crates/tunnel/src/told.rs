//! What we last told our owner, so that it hears of real changes only.
//!
//! Each interface or list that is told makes the host change its settings and programs drop their name caches.

use std::{collections::BTreeSet, net::IpAddr, net::Ipv4Addr, net::Ipv6Addr};

use ipnet::IpNet;
use model::{DeviceView, ResourceView};

/// What the host has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Our IPv4 address in the tunnel.
    pub ipv4: Ipv4Addr,
    /// Our IPv6 address in the tunnel.
    pub ipv6: Ipv6Addr,
    /// The addresses on which programs find a resolver, in order of preference, and what stands behind each.
    pub sentinels: Vec<(IpAddr, dns::Upstream)>,
    /// The domain that single-label names are completed with.
    pub search_domain: Option<String>,
    /// What has to be routed into the tunnel.
    pub routes: BTreeSet<IpNet>,
}

/// The last word on a subject, and the next one if it differs.
#[derive(Debug)]
pub(crate) struct Told<T> {
    told: Option<T>,
    next: Option<T>,
    is_stale: bool,
}

/// Told about the interface.
pub(crate) type ToldInterface = Told<InterfaceConfig>;
/// Told about the resources.
pub(crate) type ToldResources = Told<Vec<ResourceView>>;
/// Told about other clients.
pub(crate) type ToldDevices = Told<Vec<DeviceView>>;

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { told: None, next: None, is_stale: false }
    }
}

impl<T: Clone + PartialEq> Told<T> {
    /// Our owner takes this for granted until told otherwise.
    pub(crate) fn from_the_start(told: T) -> Self {
        Self { told: Some(told), next: None, is_stale: false }
    }

    /// Something changed that may change the subject.
    pub(crate) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// The dust has settled: takes stock if anything changed.
    pub(crate) fn settle(&mut self, current: impl FnOnce() -> Option<T>) {
        if std::mem::take(&mut self.is_stale) {
            self.next = current().filter(|current| self.told.as_ref() != Some(current));
        }
    }

    /// What has to be told.
    pub(crate) fn poll(&mut self) -> Option<T> {
        let next = self.next.take()?;
        self.told = Some(next.clone());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_last_word_is_told() {
        let mut told = Told::default();
        told.settle(|| Some(1));
        assert_eq!(told.poll(), None, "nothing was marked");

        told.mark_stale();
        told.settle(|| Some(1));
        assert_eq!(told.poll(), Some(1));

        told.mark_stale();
        told.settle(|| Some(2));
        told.mark_stale();
        told.settle(|| Some(1));
        assert_eq!(told.poll(), None, "it changed and changed back");
    }
}
