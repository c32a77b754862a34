//! Reads from the kernel what it has, and carries out changes. Takes no decision.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::RuleMessage;

use super::address;
use super::family::Family;
use super::link::{self, Link};
use super::netlink::{Create, Netlink, Refusal};
use super::others;
use super::plan::{Change, Have, UPSTREAM_INTERFACE};
use super::routes::Found;
use super::rules::Rule;

#[derive(Debug)]
pub(super) struct Kernel {
    netlink: Netlink,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// What concerns us of the kernel's state.
    pub(super) async fn have(&mut self, tunnel: &str) -> Result<Have, Refusal> {
        // Rules first: should upstream start between the two questions, we see its interface but not yet its rules,
        // and never take fresh rules for left ones.
        let (rules, preceding) = self.rules().await?;
        let links = self.links().await?;
        let routes = self.routes().await?;
        let addresses = self.addresses().await?;

        let (tunnels, others): (Vec<Link>, Vec<Link>) = links.into_iter().partition(|link| link.name == tunnel);
        let tunnel = tunnels.into_iter().next();
        let own = |found: &&address::Found| tunnel.as_ref().is_some_and(|link| link.index == found.interface);
        Ok(Have {
            addresses: addresses
                .iter()
                .filter(own)
                .filter(|found| !found.is_link_local())
                .map(|found| found.network)
                .collect(),
            tunnel,
            rules,
            routes,
            in_our_ranges: others::in_our_ranges(&addresses, &usable(&others)),
            usable: usable(&others),
            preceding,
            upstream_runs: others.iter().any(|link| link.name == UPSTREAM_INTERFACE),
        })
    }

    async fn links(&mut self) -> Result<Vec<Link>, Refusal> {
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        self.netlink
            .dump(RouteNetlinkMessage::GetLink(question), |answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(Link::read(&message)),
                _ => None,
            })
            .await
    }

    pub(super) async fn addresses(&mut self) -> Result<Vec<address::Found>, Refusal> {
        self.netlink
            .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => address::Found::read(&message),
                _ => None,
            })
            .await
    }

    /// The routes of the main table and of ours.
    async fn routes(&mut self) -> Result<Vec<Found>, Refusal> {
        let mut routes = Vec::new();
        for family in Family::BOTH {
            let mut question = RouteMessage::default();
            question.header.address_family = family.into();
            let answers = self.netlink.dump(RouteNetlinkMessage::GetRoute(question), |answer| match answer {
                RouteNetlinkMessage::NewRoute(message) => {
                    Found::read(&message).filter(|found| found.is_main() || found.is_ours())
                }
                _ => None,
            });
            routes.extend(none_if_unsupported(answers.await)?);
        }
        Ok(routes)
    }

    /// Our rules and upstream's, and the priorities of those that precede them.
    async fn rules(&mut self) -> Result<(BTreeSet<Rule>, BTreeSet<u32>), Refusal> {
        let mut rules = BTreeSet::new();
        let mut preceding = BTreeSet::new();
        for family in Family::BOTH {
            let mut question = RuleMessage::default();
            question.header.family = family.into();
            let answers = self.netlink.dump(RouteNetlinkMessage::GetRule(question), |answer| match answer {
                RouteNetlinkMessage::NewRule(message) => {
                    let rule = Rule::read(&message);
                    if rule.is_none() {
                        preceding.extend(others::precedes_us(&message));
                    }
                    rule
                }
                _ => None,
            });
            rules.extend(none_if_unsupported(answers.await)?);
        }
        Ok((rules, preceding))
    }

    /// Makes one change. What is there already, or gone already, is as wished.
    pub(super) async fn make(&mut self, change: &Change) -> Result<(), Refusal> {
        let outcome = match change {
            Change::StopInventingAddresses(index) => self.netlink.change(link::no_invented_addresses(*index)).await,
            Change::ConfigureLink(index) => self.netlink.change(link::configuration(*index)).await,
            Change::LinkUp(index) => self.netlink.change(link::up(*index)).await,
            Change::AddAddress(network, index) => {
                self.netlink.create(address::creation(*network, *index), Create::New).await
            }
            Change::AddRoute(route) => self.netlink.create(route.creation(), Create::New).await,
            Change::ReplaceRoute(route) => self.netlink.create(route.creation(), Create::Replacing).await,
            Change::AddRule(rule) => self.netlink.create(rule.creation(), Create::New).await,
            Change::RemoveRule(rule) => removed(self.netlink.change(rule.removal()).await),
            Change::RemoveRoute(route) => removed(self.netlink.change(route.removal()).await),
            Change::RemoveAddress(network, index) => {
                removed(self.netlink.change(address::removal(*network, *index)).await)
            }
            Change::LinkDown(index) => removed(self.netlink.change(link::down(*index)).await),
        };
        match outcome {
            Err(Refusal::Exists) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Interfaces through which packets can leave this host without us.
fn usable(links: &[Link]) -> BTreeMap<u32, String> {
    links
        .iter()
        .filter(|link| link.is_working() && !link.loopback && link.name != UPSTREAM_INTERFACE)
        .map(|link| (link.index, link.name.clone()))
        .collect()
}

fn removed(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    match outcome {
        Err(Refusal::Gone) => Ok(()),
        outcome => outcome,
    }
}

/// A kernel without IPv6, or without policy routing, has no routes or rules of that kind.
fn none_if_unsupported<T>(answers: Result<Vec<T>, Refusal>) -> Result<Vec<T>, Refusal> {
    match answers {
        Err(Refusal::Unsupported) => Ok(Vec::new()),
        answers => answers,
    }
}
