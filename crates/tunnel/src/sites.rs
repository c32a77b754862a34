//! The status of sites, derived from connections and answers of the portal.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use model::{Site, SiteId, Status};

/// How long a site stays offline. The portal does not report when its gateways are back.
const OFFLINE_EXPIRY: Duration = Duration::from_secs(5 * 60);

/// The known status of sites.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    known: BTreeMap<SiteId, State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Online,
    Offline { since: Instant },
}

impl Sites {
    /// Sets a site online: one of its gateways is connected.
    pub(crate) fn set_online(&mut self, site: SiteId) {
        self.known.insert(site, State::Online);
    }

    /// Sets a site offline: the portal reported that none of its gateways is online.
    pub(crate) fn set_offline(&mut self, site: SiteId, now: Instant) {
        self.known.insert(site, State::Offline { since: now });
    }

    /// Forgets the status of a site.
    pub(crate) fn set_unknown(&mut self, site: SiteId) {
        self.known.remove(&site);
    }

    /// Forgets expired offline states. Returns whether there were any.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.known.len();
        self.known.retain(|_, state| !matches!(state, State::Offline { since } if *since + OFFLINE_EXPIRY <= now));
        self.known.len() != before
    }

    /// When the next offline state expires.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.known
            .values()
            .filter_map(|state| match state {
                State::Offline { since } => Some(*since + OFFLINE_EXPIRY),
                State::Online => None,
            })
            .min()
    }

    /// The status of a resource in all of `sites`: online if any of them is online, offline if all of them are offline.
    pub(crate) fn status(&self, sites: &[Site]) -> Status {
        let has = |state: fn(&State) -> bool| move |site: &Site| self.known.get(&site.id).is_some_and(state);
        if sites.iter().any(has(|state| matches!(state, State::Online))) {
            Status::Online
        } else if !sites.is_empty() && sites.iter().all(has(|state| matches!(state, State::Offline { .. }))) {
            Status::Offline
        } else {
            Status::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn site(number: u128) -> Site {
        Site { id: SiteId::from_u128(number), name: "site".to_owned() }
    }

    #[test]
    fn resource_is_online_with_one_site_and_offline_with_all() {
        let now = start();
        let (a, b) = (site(1), site(2));
        let mut sites = Sites::default();
        assert_eq!(sites.status(&[]), Status::Unknown);

        sites.set_offline(a.id, now);
        assert_eq!(sites.status(&[a.clone(), b.clone()]), Status::Unknown);
        sites.set_offline(b.id, now);
        assert_eq!(sites.status(&[a.clone(), b.clone()]), Status::Offline);
        sites.set_online(a.id);
        assert_eq!(sites.status(&[a, b]), Status::Online);
    }

    #[test]
    fn offline_status_expires_after_five_minutes() {
        let now = start();
        let a = site(1);
        let mut sites = Sites::default();
        sites.set_offline(a.id, now);

        let due = sites.poll_timeout().unwrap();
        assert_eq!(due, now + OFFLINE_EXPIRY);
        assert!(!sites.handle_timeout(due - Duration::from_secs(1)));
        assert!(sites.handle_timeout(due));

        assert_eq!(sites.status(&[a]), Status::Unknown);
        assert_eq!(sites.poll_timeout(), None);
    }
}
