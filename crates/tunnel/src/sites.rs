//! Whether the gateways of a site are there, as far as we have noticed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use model::{Site, SiteId, Status};

/// How long "no gateway is there" stays true. Nobody tells us when one comes back.
const OFFLINE_FOR: Duration = Duration::from_secs(5 * 60);

/// What we know about sites.
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
    /// A gateway of this site is connected.
    pub(crate) fn online(&mut self, site: SiteId) {
        self.known.insert(site, State::Online);
    }

    /// The portal says that no gateway of this site is there.
    pub(crate) fn offline(&mut self, site: SiteId, now: Instant) {
        self.known.insert(site, State::Offline { since: now });
    }

    /// Nothing is known any more.
    pub(crate) fn unknown(&mut self, site: SiteId) {
        self.known.remove(&site);
    }

    /// Forgets what is too old. Says whether there was anything.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.known.len();
        self.known.retain(|_, state| !matches!(state, State::Offline { since } if *since + OFFLINE_FOR <= now));
        self.known.len() != before
    }

    /// When something gets too old.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.known
            .values()
            .filter_map(|state| match state {
                State::Offline { since } => Some(*since + OFFLINE_FOR),
                State::Online => None,
            })
            .min()
    }

    /// The status of something that is in all of `sites`: there if any of them is, away if all of them are.
    pub(crate) fn status(&self, sites: &[Site]) -> Status {
        let is = |wanted: fn(&State) -> bool| move |site: &Site| self.known.get(&site.id).is_some_and(wanted);
        if sites.iter().any(is(|state| matches!(state, State::Online))) {
            Status::Online
        } else if !sites.is_empty() && sites.iter().all(is(|state| matches!(state, State::Offline { .. }))) {
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
    fn one_site_online_is_enough_but_offline_takes_all() {
        let now = start();
        let (a, b) = (site(1), site(2));
        let mut sites = Sites::default();
        assert_eq!(sites.status(&[]), Status::Unknown);

        sites.offline(a.id, now);
        assert_eq!(sites.status(&[a.clone(), b.clone()]), Status::Unknown);
        sites.offline(b.id, now);
        assert_eq!(sites.status(&[a.clone(), b.clone()]), Status::Offline);
        sites.online(a.id);
        assert_eq!(sites.status(&[a, b]), Status::Online);
    }

    #[test]
    fn offline_is_forgotten_after_five_minutes() {
        let now = start();
        let a = site(1);
        let mut sites = Sites::default();
        sites.offline(a.id, now);

        let due = sites.poll_timeout().unwrap();
        assert_eq!(due, now + OFFLINE_FOR);
        assert!(!sites.handle_timeout(due - Duration::from_secs(1)));
        assert!(sites.handle_timeout(due));

        assert_eq!(sites.status(&[a]), Status::Unknown);
        assert_eq!(sites.poll_timeout(), None);
    }
}
