//! The settings that we manage, and the local networks that they copy.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::family::Family;
use crate::lan;
use crate::plan::KernelState;
use crate::routes::Route;
use crate::rules::Rule;

#[derive(Debug, Clone, Default)]
pub(super) struct ManagedState {
    lan: BTreeSet<Route>,
    upstream_runs: bool,
    addresses: BTreeSet<IpNet>,
    routes: BTreeSet<Route>,
    rules: BTreeSet<Rule>,
    up: bool,
}

impl ManagedState {
    pub(super) fn new(current: &KernelState) -> Self {
        let families = Family::BOTH.into_iter().collect();
        Self {
            lan: lan::copies(&current.routes, &current.usable_interfaces, &families),
            upstream_runs: current.upstream_runs,
            addresses: current.addresses.clone(),
            routes: current.routes.iter().filter(|found| found.is_ours()).map(|found| found.route.clone()).collect(),
            rules: current.rules.iter().filter(|rule| rule.is_ours()).cloned().collect(),
            up: current.tunnel.as_ref().is_some_and(|link| link.up),
        }
    }

    /// Whether another program may have changed something. Additional settings are our own; missing ones may have been removed
    /// by another program.
    pub(super) fn has_drifted(&self, next: &Self) -> bool {
        self.lan != next.lan
            || self.upstream_runs != next.upstream_runs
            || !self.addresses.is_subset(&next.addresses)
            || !self.routes.is_subset(&next.routes)
            || !self.rules.is_subset(&next.rules)
            || (self.up && !next.up)
    }
}
