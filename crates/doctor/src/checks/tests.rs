use dbus_api::{Gateway, Permission, Status};

use super::*;
use crate::{
    containers::{Bridge, Questions},
    portal::{Knock, Outcome},
};

fn healthy() -> Facts {
    Facts {
        has_bus: true,
        has_polkit: Some(true),
        daemon: Whereabouts::Bus,
        permissions: Some([("sign-in".to_owned(), Permission::Yes)].into()),
        status: Some(Status {
            state: State::Connected,
            portal: PortalState::Joined,
            gateways: Some(vec![Gateway { path: PathKind::Direct, ..Gateway::default() }]),
            ..Status::default()
        }),
        captive: Some(false),
        rules: Some(6),
        members: Some(vec!["anna".to_owned()]),
        is_member: true,
        has_tun: true,
        capabilities: Some(NET_ADMIN),
        tunnel_mtu: Some(1280),
        nameservers: vec!["127.0.0.53".to_owned()],
        upstream: vec!["192.0.2.1".to_owned()],
        clock_is_kept: true,
        now: EARLIEST + 1,
        way_out: Some(("eth0".to_owned(), 1500)),
        ipv6: Some(true),
        ..Facts::default()
    }
}

fn not_ok(facts: &Facts) -> Vec<(&'static str, Verdict)> {
    let troubles = all(facts).into_iter().filter(|it| it.result != Verdict::Ok);
    troubles.map(|it| (CHECKS.iter().find(|row| row.0 == it.id).unwrap().0, it.result)).collect()
}

#[test]
fn a_healthy_machine_has_nothing_to_complain_about() {
    assert_eq!(not_ok(&healthy()), []);
}

/// What is changed about a healthy machine, and what is said then.
type Trouble = (fn(&mut Facts), &'static [(&'static str, Verdict)]);

fn status(facts: &mut Facts) -> &mut Status {
    facts.status.get_or_insert_default()
}

#[test]
fn each_trouble_has_its_check() {
    use Verdict::{Failed, Warning};
    let troubles: &[Trouble] = &[
        (|it| it.daemon = Whereabouts::Nowhere, &[("FZ001", Failed)]),
        (|it| it.daemon = Whereabouts::Forbidden, &[("FZ001", Failed)]),
        (|it| it.has_polkit = Some(false), &[("FZ002", Failed)]),
        (|it| it.permissions = Some([("sign-in".to_owned(), Permission::No)].into()), &[("FZ003", Warning)]),
        (|it| (it.permissions, it.members) = (None, None), &[("FZ003", Failed)]),
        (|it| it.has_token_file = true, &[("FZ004", Warning)]),
        (|it| it.has_tun = false, &[("FZ005", Failed)]),
        (|it| it.capabilities = Some(1), &[("FZ006", Failed)]),
        (|it| it.tunnel_mtu = None, &[("FZ007", Failed)]),
        (|it| it.rules = Some(0), &[("FZ007", Failed)]),
        (
            |it| {
                it.wildcard_53 = Some("udp");
                it.nameservers = vec!["100.100.111.1".to_owned()];
            },
            &[("FZ008", Warning)],
        ),
        (|it| warned(it, WarningCode::DnsPortTaken), &[("FZ008", Failed)]),
        (|it| warned(it, WarningCode::DnsPortNotPermitted), &[("FZ008", Failed)]),
        (|it| warned(it, WarningCode::DnsNotServed), &[("FZ008", Failed)]),
        (|it| it.nameservers = vec!["192.0.2.1".to_owned()], &[("FZ009", Warning)]),
        (|it| (it.nameservers, it.upstream) = (vec![], vec![]), &[("FZ009", Warning), ("FZ010", Failed)]),
        (|it| (status(it).portal, status(it).portal_error) = refused(Reason::PortalTls), &[("FZ011", Failed)]),
        (|it| (status(it).portal, status(it).portal_error) = refused(Reason::PortalUnreachable), &[("FZ011", Failed)]),
        (|it| it.now = 0, &[("FZ012", Failed)]),
        (|it| status(it).gateways.as_mut().unwrap()[0].path = PathKind::Connecting, &[("FZ013", Warning)]),
        (|it| it.ipv6 = None, &[("FZ014", Warning)]),
        (|it| it.way_out = Some(("ppp0".to_owned(), 1280)), &[("FZ015", Warning)]),
        (|it| it.way_out = None, &[("FZ015", Failed)]),
        (|it| it.others = vec!["wg0".to_owned()], &[("FZ016", Warning)]),
        (|it| it.captive = Some(true), &[("FZ017", Failed)]),
        (|it| it.bridges = vec![bridge(Questions::Refused("inet filter input".to_owned()))], &[("FZ018", Warning)]),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (number, (change, found)) in troubles.iter().enumerate() {
        let mut facts = healthy();
        change(&mut facts);
        assert_eq!(not_ok(&facts), *found, "trouble {number}");
        seen.extend(found.iter().map(|it| it.0));
    }
    let every: Vec<&str> = CHECKS.iter().map(|it| it.0).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), every, "a check that no trouble reaches");
}

fn bridge(questions: Questions) -> Bridge {
    Bridge { name: "docker0".to_owned(), questions }
}

#[test]
fn what_containers_may_ask_is_said_only_if_it_is_known() {
    let found = |all: &[Questions]| {
        let facts = Facts { bridges: all.iter().cloned().map(bridge).collect(), ..healthy() };
        let check = super::all(&facts).pop().unwrap();
        assert!(check.id == "FZ018" && (all.is_empty() || check.evidence.contains("docker0")), "{check:?}");
        check.result
    };
    let refused = Questions::Refused("ip filter INPUT".to_owned());
    assert_eq!(found(&[]), Verdict::Ok);
    assert_eq!(found(&[Questions::Answered]), Verdict::Ok);
    assert_eq!(found(&[Questions::Answered, Questions::Unclear]), Verdict::Skipped);
    assert_eq!(found(&[Questions::Unseen, Questions::Unseen]), Verdict::Skipped);
    assert_eq!(found(&[Questions::Answered, refused]), Verdict::Warning);
}

fn warned(facts: &mut Facts, code: WarningCode) {
    let warning = dbus_api::Warning { code, ..Default::default() };
    facts.status.as_mut().unwrap().warnings = vec![warning];
}

fn refused(why: Reason) -> (PortalState, Option<Reason>) {
    (PortalState::Connecting, Some(why))
}

#[test]
fn somebody_on_port_53_is_no_trouble_where_systemd_resolved_asks_on_another_port() {
    let evidence = |facts: &Facts| {
        assert_eq!(not_ok(facts), []);
        all(facts).into_iter().find(|it| it.id == "FZ008").unwrap().evidence
    };
    let mut facts = Facts { wildcard_53: Some("udp"), names_port: Some(5053), ..healthy() };
    assert!(evidence(&facts).ends_with("on port 5053"));

    facts.names_port = None;
    facts.status.as_mut().unwrap().state = State::SignedOut;
    assert!(evidence(&facts).ends_with("on another"));
}

#[test]
fn a_dead_daemon_is_seen_with_what_it_has_left() {
    let facts = Facts {
        has_bus: true,
        has_polkit: Some(true),
        daemon: Whereabouts::Nowhere,
        nameservers: vec!["100.100.111.1".to_owned()],
        rules: Some(6),
        knock: Some(Knock {
            whom: "api.firezone.dev:443".to_owned(),
            by: String::new(),
            unread: Vec::new(),
            outcome: Outcome::Unreachable(std::io::ErrorKind::ConnectionRefused),
        }),
        members: Some(vec![]),
        has_tun: true,
        now: EARLIEST,
        way_out: Some(("eth0".to_owned(), 1500)),
        ..Facts::default()
    };
    let found = not_ok(&facts);
    for id in ["FZ001", "FZ009", "FZ011"] {
        assert!(found.contains(&(id, Verdict::Failed)), "{id} in {found:?}");
    }
    assert!(found.contains(&("FZ007", Verdict::Warning)), "{found:?}");
}

#[test]
fn whatever_is_wrong_has_evidence() {
    for facts in [healthy(), Facts::default()] {
        for check in all(&facts) {
            assert!(!check.evidence.is_empty(), "{check:?}");
            assert!(
                check.result != Verdict::Failed || !(check.effect.is_empty() || check.remedy.is_empty()),
                "{check:?}"
            );
        }
    }
}
