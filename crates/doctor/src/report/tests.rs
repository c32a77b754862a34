use dbus_api::{Device, Warning, dns};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    Whereabouts,
    containers::{Bridge, Questions},
    portal::{Knock, Outcome},
};

/// Makes texts that must not be seen again, and remembers them.
struct Secrets {
    rng: StdRng,
    made: Vec<String>,
}

impl Secrets {
    fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), made: Vec::new() }
    }

    /// A text in one of the forms that private things have.
    fn text(&mut self) -> String {
        let core: String = (0..12).map(|_| char::from(self.rng.random_range(b'a'..=b'z'))).collect();
        let text = match self.rng.random_range(0..6) {
            0 => format!("{core}.corp.example"),
            1 => format!("Wiki of {core} \"\\ \u{fc}"),
            2 => format!("{:08x}-0000-4000-8000-{core}", self.rng.random::<u32>()),
            3 => format!("10.{core}.0.0/16"),
            4 => format!("https://{core}/?token={core}"),
            _ => core.clone(),
        };
        self.made.push(core);
        text
    }

    fn maybe(&mut self) -> Option<String> {
        self.rng.random_bool(0.7).then(|| self.text())
    }

    fn some(&mut self) -> Vec<String> {
        (0..self.rng.random_range(0..4)).map(|_| self.text()).collect()
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.rng.random_range(0..words.len())]
    }

    fn number(&mut self) -> u64 {
        self.rng.random_range(0..1_000_000)
    }

    fn chance(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    /// A daemon's whole knowledge, in which everything private is one of these texts.
    fn material(&mut self) -> Material {
        let sites = self.some();
        Material {
            made_by: "test 0".to_owned(),
            facts: self.facts(),
            status: self.chance().then(|| self.status()),
            resources: (0..self.rng.random_range(0..5)).map(|_| self.resource(&sites)).collect(),
            settings: ["api-url", "token-path", "id", "name", "log-filter", "something-new"]
                .map(|key| (key.to_owned(), self.setting()))
                .into(),
            dns: self.chance().then(|| self.dns()),
            dropped: [("filtered", self.number()), ("expired", 0)].into(),
            log: vec![self.line()],
            log_from: LogFrom::Journal,
        }
    }

    fn line(&mut self) -> LogLine {
        let mut line = LogLine::new(self.number(), "INFO", "firezoned::daemon", 1);
        for field in ["message", "error", "name"] {
            line.text(field, &self.text());
        }
        line.text("reason", self.pick(&["portal_tls", ""]));
        line
    }

    fn status(&mut self) -> Status {
        Status {
            state: self.pick(&["connected", "connecting", "signed-out"]).into(),
            reason: Reason::published(self.pick(&["", "token_rejected"])),
            since: Some(self.number()),
            account_slug: self.maybe(),
            actor_name: self.maybe(),
            tunnel_ipv4: self.maybe(),
            tunnel_ipv6: self.maybe(),
            portal: self.pick(&["joined", "away"]).into(),
            portal_error: self.chance().then_some(Reason::PortalTls),
            gateways: Some(
                (0..self.rng.random_range(0..3))
                    .map(|_| dbus_api::Gateway {
                        id: self.text(),
                        path: self.pick(&["direct", "relayed", "connecting"]).into(),
                        last_handshake_seconds: Some(self.number()),
                        ..dbus_api::Gateway::default()
                    })
                    .collect(),
            ),
            devices: Some(
                (0..self.rng.random_range(0..3))
                    .map(|_| Device {
                        id: self.text(),
                        name: self.maybe(),
                        tunnel_ipv4: self.text(),
                        tunnel_ipv6: self.text(),
                        pools: self.some(),
                    })
                    .collect(),
            ),
            warnings: (0..self.rng.random_range(0..3))
                .map(|_| Warning { code: self.pick(&["dns-not-served", "gateways-offline"]).into(), text: self.text() })
                .collect(),
            ..Status::default()
        }
    }

    fn resource(&mut self, sites: &[String]) -> Resource {
        Resource {
            id: self.text(),
            kind: self.pick(&["dns", "cidr", "internet"]).into(),
            name: self.text(),
            address: self.maybe(),
            address_description: self.maybe(),
            sites: sites.iter().take(2).cloned().collect(),
            status: self.pick(&["online", "offline", "unknown"]).into(),
            ..Resource::default()
        }
    }

    fn setting(&mut self) -> Setting {
        let source = self.text();
        let source = ["--flag".to_owned(), format!("/etc/{source}.toml:3"), source]
            .get(self.rng.random_range(0..3))
            .cloned()
            .unwrap();
        Setting { value: self.text(), source, ..Setting::default() }
    }

    fn dns(&mut self) -> DnsStatus {
        DnsStatus {
            origin: Origin::Host,
            servers: (0..self.rng.random_range(0..3))
                .map(|_| dns::Server {
                    sentinel: self.text(),
                    upstream: self.text(),
                    protocol: self.pick(&["plain", "tls"]).into(),
                    server_name: self.maybe(),
                    via: Via::Host,
                    failure: Some(Failure::TimedOut),
                })
                .collect(),
            search_domain: self.maybe(),
            names: self.number(),
        }
    }

    fn bridge(&mut self) -> Bridge {
        let refused = Questions::Refused(self.text());
        let questions = [refused, Questions::Answered, Questions::Unclear, Questions::Unseen];
        Bridge { name: self.text(), questions: questions[self.rng.random_range(0..questions.len())].clone() }
    }

    fn knock(&mut self) -> Knock {
        let outcomes =
            [Outcome::Answers { is_tls: true }, Outcome::NoName, Outcome::NoTls, Outcome::Senseless(self.text())];
        let outcome = outcomes[self.rng.random_range(0..outcomes.len())].clone();
        Knock { whom: self.text(), by: self.text(), unread: self.some(), outcome }
    }

    fn facts(&mut self) -> Facts {
        let everywhere = [Whereabouts::Bus, Whereabouts::Socket, Whereabouts::File, Whereabouts::Nowhere];
        Facts {
            has_bus: self.chance(),
            daemon: everywhere[self.rng.random_range(0..everywhere.len())],
            status: self.chance().then(|| self.status()),
            members: Some(self.some()),
            nameservers: self.some(),
            upstream: self.some(),
            way_out: self.chance().then(|| (self.text(), 1280)),
            others: self.some(),
            bridges: (0..self.rng.random_range(0..3)).map(|_| self.bridge()).collect(),
            knock: self.chance().then(|| self.knock()),
            capabilities: self.chance().then_some(0),
            has_tun: self.chance(),
            now: self.number(),
            ..Facts::default()
        }
    }
}

#[test]
fn nothing_private_is_in_a_report() {
    for seed in 0..2_000 {
        let mut secrets = Secrets::new(seed);
        let material = secrets.material();
        let text = Report::of(&material).to_json().unwrap();
        for secret in &secrets.made {
            assert!(!text.contains(secret.as_str()), "seed {seed}: {secret} in {text}");
        }
    }
}

#[test]
fn what_helps_is_in_a_report() {
    let site = || vec!["Berlin".to_owned()];
    let resource = |kind: &str, sites| Resource { kind: kind.into(), sites, ..Resource::default() };
    let gateway = dbus_api::Gateway { path: PathKind::Relayed, sent_bytes: Some(7), ..dbus_api::Gateway::default() };
    let material = Material {
        status: Some(Status { state: State::Connected, gateways: Some(vec![gateway]), ..Status::default() }),
        resources: vec![resource("dns", site()), resource("cidr", vec!["Paris".to_owned(), "Berlin".to_owned()])],
        settings: [
            ("dns-control".to_owned(), Setting { value: "auto".to_owned(), ..Setting::default() }),
            (
                "internet-resource".to_owned(),
                Setting { value: "true".to_owned(), source: "/etc/a.toml:1".to_owned(), ..Setting::default() },
            ),
        ]
        .into(),
        dropped: [("filtered", 3), ("expired", 0)].into(),
        ..Material::default()
    };
    let report = Report::of(&material);
    assert_eq!(report.session.as_ref().unwrap().state, State::Connected);
    assert_eq!((report.gateways[0].name.as_str(), report.gateways[0].sent_bytes), ("gateway-1", Some(7)));
    assert_eq!(report.resources[1].sites, ["site-2", "site-1"]);
    assert_eq!(report.settings["internet-resource"].value.as_deref(), Some("true"));
    assert_eq!(report.settings["internet-resource"].source, "file");
    assert_eq!(report.dropped, [("filtered".to_owned(), 3)].into());
    assert_eq!(report.checks.len(), 18);
    assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
}

#[test]
fn the_distribution_is_named_as_it_names_itself() {
    assert_eq!(distribution("PRETTY_NAME=\"x\"\nID=debian\nVERSION_ID=\"12\"\n"), "debian 12");
    assert_eq!(distribution("ID=arch\n"), "arch");
    assert_eq!(distribution(""), "");
}
