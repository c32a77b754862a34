//! Reads the current state of the kernel and applies changes. Makes no decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::RuleMessage;

use super::address::{self, InterfaceAddress};
use super::family::Family;
use super::link::{self, Link};
use super::netlink::{Create, KernelError, Netlink};
use super::plan::{Change, KernelState, UPSTREAM_INTERFACE};
use super::routes::KernelRoute;
use super::rules::Rule;
use super::vpn_conflicts;

#[derive(Debug)]
pub(super) struct Kernel {
    netlink: Netlink,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// The part of the kernel's state that the plan depends on.
    pub(super) async fn read_state(&mut self, tunnel: &str) -> Result<KernelState, KernelError> {
        // Rules first: if an upstream program starts between the two dumps, we see its interface but not yet its rules,
        // and do not mistake fresh rules for leftovers.
        let (rules, preceding_rules) = self.rules().await?;
        let links = self.links().await?;
        let routes = self.routes().await?;
        let addresses = self.addresses().await?;

        let (tunnels, others): (Vec<Link>, Vec<Link>) = links.into_iter().partition(|link| link.name == tunnel);
        let tunnel = tunnels.into_iter().next();
        let own = |found: &&InterfaceAddress| tunnel.as_ref().is_some_and(|link| link.index == found.interface);
        Ok(KernelState {
            addresses: addresses
                .iter()
                .filter(own)
                .filter(|found| !found.is_link_local())
                .map(|found| found.network)
                .collect(),
            tunnel,
            rules,
            routes,
            interfaces_in_tunnel_ranges: vpn_conflicts::interfaces_in_tunnel_ranges(
                &addresses,
                &usable_interfaces(&others),
            ),
            usable_interfaces: usable_interfaces(&others),
            preceding_rules,
            upstream_runs: others.iter().any(|link| link.name == UPSTREAM_INTERFACE),
        })
    }

    async fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        self.netlink
            .dump(RouteNetlinkMessage::GetLink(question), |answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(Link::parse(&message)),
                _ => None,
            })
            .await
    }

    pub(super) async fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, KernelError> {
        self.netlink
            .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => InterfaceAddress::parse(&message),
                _ => None,
            })
            .await
    }

    /// The routes of the main table and of ours.
    async fn routes(&mut self) -> Result<Vec<KernelRoute>, KernelError> {
        let mut routes = Vec::new();
        for family in Family::BOTH {
            let mut question = RouteMessage::default();
            question.header.address_family = family.into();
            let answers = self.netlink.dump(RouteNetlinkMessage::GetRoute(question), |answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => {
                    KernelRoute::parse(&message).filter(|found| found.is_main() || found.is_ours())
                }
                _ => None,
            });
            routes.extend(empty_if_unsupported(answers.await)?);
        }
        Ok(routes)
    }

    /// Our rules and upstream's, and the priorities of conflicting rules before ours.
    async fn rules(&mut self) -> Result<(BTreeSet<Rule>, BTreeSet<u32>), KernelError> {
        let mut rules = BTreeSet::new();
        let mut preceding_rules = BTreeSet::new();
        for family in Family::BOTH {
            let mut question = RuleMessage::default();
            question.header.family = family.into();
            let answers = self.netlink.dump(RouteNetlinkMessage::GetRule(question), |answer| match answer {
                RouteNetlinkMessage::NewRule(message) => {
                    let rule = Rule::parse(&message);
                    if rule.is_none() {
                        preceding_rules.extend(vpn_conflicts::precedes_our_rules(&message));
                    }
                    rule
                }
                _ => None,
            });
            rules.extend(empty_if_unsupported(answers.await)?);
        }
        Ok((rules, preceding_rules))
    }

    /// Applies one change. Adding what exists and removing what does not exist succeeds.
    pub(super) async fn apply(&mut self, change: &Change) -> Result<(), KernelError> {
        let outcome = match change {
            Change::DisableAddressGeneration(index) => {
                self.netlink.change(link::disable_address_generation_request(*index)).await
            }
            Change::ConfigureLink(index) => self.netlink.change(link::configure_request(*index)).await,
            Change::LinkUp(index) => self.netlink.change(link::up_request(*index)).await,
            Change::AddAddress(network, index) => {
                self.netlink.create(address::add_request(*network, *index), Create::New).await
            }
            Change::AddRoute(route) => self.netlink.create(route.add_request(), Create::New).await,
            Change::ReplaceRoute(route) => self.netlink.create(route.add_request(), Create::Replace).await,
            Change::AddRule(rule) => self.netlink.create(rule.add_request(), Create::New).await,
            Change::RemoveRule(rule) => ignore_not_found(self.netlink.change(rule.delete_request()).await),
            Change::RemoveRoute(route) => ignore_not_found(self.netlink.change(route.delete_request()).await),
            Change::RemoveAddress(network, index) => {
                ignore_not_found(self.netlink.change(address::delete_request(*network, *index)).await)
            }
            Change::LinkDown(index) => ignore_not_found(self.netlink.change(link::down_request(*index)).await),
        };
        match outcome {
            Err(KernelError::Exists) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Interfaces through which packets can leave this host outside the tunnel.
fn usable_interfaces(links: &[Link]) -> BTreeMap<u32, String> {
    links
        .iter()
        .filter(|link| link.is_working() && !link.loopback && link.name != UPSTREAM_INTERFACE)
        .map(|link| (link.index, link.name.clone()))
        .collect()
}

fn ignore_not_found(outcome: Result<(), KernelError>) -> Result<(), KernelError> {
    match outcome {
        Err(KernelError::NotFound) => Ok(()),
        outcome => outcome,
    }
}

/// A kernel without IPv6 or without policy routing has no such routes or rules.
fn empty_if_unsupported<T>(answers: Result<Vec<T>, KernelError>) -> Result<Vec<T>, KernelError> {
    match answers {
        Err(KernelError::Unsupported) => Ok(Vec::new()),
        answers => answers,
    }
}
