//! What our own settings stand on: whether they are still there, and whether what they copy is still the same.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::family::Family;
use crate::lan;
use crate::plan::Have;
use crate::routes::Route;
use crate::rules::Rule;

#[derive(Debug, Clone, Default)]
pub(super) struct Ground {
    lan: BTreeSet<Route>,
    upstream_runs: bool,
    addresses: BTreeSet<IpNet>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
    up: bool,
}

impl Ground {
    pub(super) fn new(have: &Have) -> Self {
        let families = Family::BOTH.into_iter().collect();
        Self {
            lan: lan::copies(&have.routes, &have.usable, &families),
            upstream_runs: have.upstream_runs,
            addresses: have.addresses.clone(),
            routes: have.routes.iter().filter(|found| found.is_ours()).map(|found| found.route.clone()).collect(),
            rules: have.rules.iter().filter(|rule| rule.is_ours()).cloned().collect(),
            up: have.tunnel.as_ref().is_some_and(|link| link.up),
        }
    }

    /// Whether it moved under us. What was added to our own settings was us; what vanished may have been somebody else.
    pub(super) fn moved(&self, next: &Self) -> bool {
        self.lan != next.lan
            || self.upstream_runs != next.upstream_runs
            || !self.addresses.is_subset(&next.addresses)
            || !self.routes.is_subset(&next.routes)
            || !self.rules.is_subset(&next.rules)
            || (self.up && !next.up)
    }
}
