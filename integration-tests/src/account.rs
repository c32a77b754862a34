//! The account of all tests: one site, four resources, two relays, one user.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;
use uuid::{Uuid, uuid};

use crate::{
    portal::config::{ClientToken, Config, Directory, GatewayToken, Login, Person, Relay, Resource},
    topology::{PORTAL, PRIVATE_V4, PRIVATE_V6, RELAY, SPARE_RELAY},
};

/// Anna's token. Tokens that are made for machines and for pasting have nothing before the dot.
pub const CLIENT_TOKEN: &str = ".anna-is-allowed-to-use-the-private-server";
/// The gateway's token.
pub const GATEWAY_TOKEN: &str = ".the-gateway-of-the-site";
/// Name of the user who signs in.
pub const ACTOR: &str = "Anna Example";
/// Account slug.
pub const ACCOUNT: &str = "example-corp";

/// The site.
pub const SITE: Uuid = uuid!("5170e000-0000-4000-8000-000000000001");
/// The relay.
pub const RELAY_ID: Uuid = uuid!("0e1a7000-0000-4000-8000-000000000001");
/// The spare relay, which is offline at first.
pub const SPARE_RELAY_ID: Uuid = uuid!("0e1a7000-0000-4000-8000-000000000002");
/// DNS resource for the private server.
pub const WIKI: Uuid = uuid!("d2500000-0000-4000-8000-000000000001");
/// CIDR resource for the private network, IPv4.
pub const LAB_V4: Uuid = uuid!("c1d20000-0000-4000-8000-000000000004");
/// CIDR resource for the private network, IPv6.
pub const LAB_V6: Uuid = uuid!("c1d20000-0000-4000-8000-000000000006");

/// Name of the private server, in the private DNS only.
pub const PRIVATE_NAME: &str = "wiki.corp.example";
/// TXT record of [`PRIVATE_NAME`].
pub const PRIVATE_TEXT: &str = "only-insiders-know";
/// Another name of the private server.
pub const OTHER_PRIVATE_NAME: &str = "files.corp.example";
/// Where the portal is.
pub const PORTAL_NAME: &str = "portal.firezone.example";
/// URL of the portal, by name.
pub const PORTAL_URL: &str = "ws://portal.firezone.example:8081/";
/// URL of the portal, by address: for hosts whose resolver does not know its name.
pub const PORTAL_ADDRESS: &str = "ws://203.0.113.66:8081/";

/// Sign-in URL.
pub const AUTH_URL: &str = "http://portal.firezone.example:8082/";
/// Email address and password of Anna.
pub const ANNA: (&str, &str) = ("anna@corp.example", "it is really me");

/// Port of the portal.
const PORT: u16 = 8081;
/// Port of the sign-in pages.
const PAGES: u16 = 8082;
/// Port of the relay.
pub const TURN: u16 = 3478;

/// Relay credentials of clients and of gateways.
#[must_use]
pub fn relay_logins() -> [Login; 2] {
    ["client", "gateway"].map(|name| Login { username: name.to_owned(), password: format!("relay-password-of-{name}") })
}

/// The configuration of the portal, which stores its state in `files`.
#[must_use]
pub fn portal_config(files: &Path) -> Config {
    let [client, gateway] = relay_logins();
    let spare = Relay {
        id: SPARE_RELAY_ID,
        v4: Some(std::net::SocketAddrV4::new(SPARE_RELAY.v4, TURN)),
        v6: Some(std::net::SocketAddrV6::new(SPARE_RELAY.v6, TURN, 0, 0)),
        client: client.clone(),
        gateway: gateway.clone(),
        online: false,
    };
    let relay = Relay {
        id: RELAY_ID,
        v4: Some(std::net::SocketAddrV4::new(RELAY.v4, TURN)),
        v6: Some(std::net::SocketAddrV6::new(RELAY.v6, TURN, 0, 0)),
        client,
        gateway,
        online: true,
    };
    let resources = [
        (WIKI, dns_resource("Company wiki", "wiki.corp.example")),
        (LAB_V4, cidr_resource("Lab", PRIVATE_V4)),
        (LAB_V6, cidr_resource("Lab, IPv6", PRIVATE_V6)),
    ];

    Config {
        listen: vec![(PORTAL.v4, PORT).into(), (PORTAL.v6, PORT).into()],
        pages: vec![(PORTAL.v4, PAGES).into(), (PORTAL.v6, PAGES).into()],
        control: files.join("portal.sock"),
        state: Some(files.join("portal-state.json")),
        directory: Directory {
            account_slug: ACCOUNT.to_owned(),
            people: vec![Person { name: ACTOR.to_owned(), email: ANNA.0.to_owned(), password: ANNA.1.to_owned() }],
            client_tokens: vec![ClientToken { token: CLIENT_TOKEN.to_owned(), actor: ACTOR.to_owned() }],
            gateway_tokens: vec![GatewayToken { token: GATEWAY_TOKEN.to_owned(), site: SITE }],
            sites: BTreeMap::from([(SITE, "Berlin".to_owned())]),
            resources: BTreeMap::from(resources),
            relays: vec![relay, spare],
            authorization_seconds: 24 * 60 * 60,
            ..Directory::default()
        },
    }
}

/// A DNS resource.
#[must_use]
pub fn dns_resource(name: &str, pattern: &str) -> Resource {
    let filters =
        vec![json!({"protocol": "tcp", "port_range_start": 80, "port_range_end": 80}), json!({"protocol": "icmp"})];
    Resource { filters, ..resource("dns", name, pattern) }
}

/// A CIDR resource.
#[must_use]
pub fn cidr_resource(name: &str, network: &str) -> Resource {
    resource("cidr", name, network)
}

fn resource(kind: &str, name: &str, address: &str) -> Resource {
    Resource {
        kind: kind.to_owned(),
        site: SITE,
        name: Some(name.to_owned()),
        address: Some(address.to_owned()),
        address_description: None,
        ip_stack: None,
        filters: vec![],
        devices: vec![],
        refuse: None,
    }
}
