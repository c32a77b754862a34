//! Facts without what is private, so that whatever the checks say about them is not private either.

use dbus_api::{Gateway, Status, Warning};

use crate::{
    Facts,
    containers::{Bridge, Questions},
    portal::{Knock, Outcome},
};

/// Stands for what was there.
const SOMETHING: &str = "redacted";
/// Addresses that every client has: systemd-resolved's and the sentinels.
const COMMON: [&str; 3] = ["127.0.0.53", "100.100.111.", "fd00:2021:1111:8000:100:100:111:"];
/// The interface of another Firezone client, which is a product's name and nobody's.
const KNOWN_TUNNELS: [&str; 1] = ["tun-firezone"];

impl Facts {
    /// The same facts, without people, addresses and names.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let Self {
            has_bus,
            has_polkit,
            daemon,
            permissions,
            status,
            captive,
            rules,
            members,
            is_member,
            has_token_file,
            has_tun,
            capabilities,
            tunnel_mtu,
            wildcard_53,
            names_port,
            nameservers,
            upstream,
            clock_is_kept,
            now,
            way_out,
            ipv6,
            others,
            bridges,
            knock,
        } = self;
        Self {
            has_bus: *has_bus,
            has_polkit: *has_polkit,
            daemon: *daemon,
            permissions: permissions.clone(),
            status: status.as_ref().map(only_codes),
            captive: *captive,
            rules: *rules,
            members: members.as_ref().map(|all| all.iter().map(|_| SOMETHING.to_owned()).collect()),
            is_member: *is_member,
            has_token_file: *has_token_file,
            has_tun: *has_tun,
            capabilities: *capabilities,
            tunnel_mtu: *tunnel_mtu,
            wildcard_53: *wildcard_53,
            names_port: *names_port,
            nameservers: nameservers.iter().map(|it| address(it)).collect(),
            upstream: upstream.iter().map(|it| address(it)).collect(),
            clock_is_kept: *clock_is_kept,
            now: *now,
            // A name may hold the hardware's address.
            way_out: way_out.as_ref().map(|(_, mtu)| ("the interface".to_owned(), *mtu)),
            ipv6: *ipv6,
            others: others.iter().map(|it| tunnel(it)).collect(),
            bridges: bridges.iter().map(Bridge::redacted).collect(),
            knock: knock.as_ref().map(|it| it.redacted()),
        }
    }
}

impl Bridge {
    /// The same, without names: somebody has given them.
    fn redacted(&self) -> Self {
        let questions = match &self.questions {
            Questions::Refused(_) => Questions::Refused("a chain".to_owned()),
            it => it.clone(),
        };
        Self { name: "a bridge".to_owned(), questions }
    }
}

impl Knock {
    /// The same, without the portal's name, and without the places where it is written.
    fn redacted(&self) -> Self {
        let Self { whom: _, by, unread, outcome } = self;
        Self {
            whom: "the portal".to_owned(),
            by: if by.is_empty() { String::new() } else { "the administrator".to_owned() },
            unread: unread.iter().map(|_| SOMETHING.to_owned()).collect(),
            outcome: match outcome {
                Outcome::Senseless(_) => Outcome::Senseless("the configuration makes no sense".to_owned()),
                it => it.clone(),
            },
        }
    }
}

/// What programs need of a status: no account, no addresses, no texts.
fn only_codes(status: &Status) -> Status {
    Status {
        generation: status.generation,
        state: status.state.clone(),
        reason: status.reason.clone(),
        since: status.since,
        portal: status.portal.clone(),
        portal_error: status.portal_error.clone(),
        gateways: status.gateways.as_ref().map(|all| all.iter().map(nameless).collect()),
        warnings: status.warnings.iter().map(|it| Warning { code: it.code.clone(), text: String::new() }).collect(),
        ..Status::default()
    }
}

fn nameless(gateway: &Gateway) -> Gateway {
    Gateway { id: SOMETHING.to_owned(), ..gateway.clone() }
}

fn address(text: &str) -> String {
    let is_common = COMMON.iter().any(|it| text.starts_with(it));
    if is_common { text } else { SOMETHING }.to_owned()
}

fn tunnel(name: &str) -> String {
    if KNOWN_TUNNELS.contains(&name) { name } else { "a tunnel" }.to_owned()
}
