use dbus_api::{Gateway, Status};

use super::*;

fn healthy() -> Facts {
    Facts {
        has_bus: true,
        has_polkit: Some(true),
        daemon: Whereabouts::Bus,
        permissions: Some([("sign-in".to_owned(), "yes".to_owned())].into()),
        status: Some(Status {
            state: "connected".to_owned(),
            portal: "joined".to_owned(),
            gateways: vec![Gateway { path: "direct".to_owned(), ..Gateway::default() }],
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

#[test]
fn each_trouble_has_its_check() {
    use Verdict::{Failed, Warning};
    let with = |change: fn(&mut Facts)| {
        let mut facts = healthy();
        change(&mut facts);
        not_ok(&facts)
    };
    assert_eq!(with(|it| it.has_polkit = Some(false)), [("FZ002", Failed)]);
    assert_eq!(
        with(|it| { it.permissions = Some([("sign-in".to_owned(), "no".to_owned())].into()) }),
        [("FZ003", Warning)]
    );
    assert_eq!(with(|it| it.has_token_file = true), [("FZ004", Warning)]);
    assert_eq!(with(|it| it.has_tun = false), [("FZ005", Failed)]);
    assert_eq!(with(|it| it.capabilities = Some(1)), [("FZ006", Failed)]);
    assert_eq!(with(|it| it.tunnel_mtu = None), [("FZ007", Failed)]);
    assert_eq!(with(|it| it.rules = Some(0)), [("FZ007", Failed)]);
    assert_eq!(with(|it| it.wildcard_53 = Some("udp")), [("FZ008", Warning)]);
    assert_eq!(with(|it| it.nameservers = vec!["192.0.2.1".to_owned()]), [("FZ009", Warning)]);
    assert_eq!(with(|it| it.now = 0), [("FZ012", Failed)]);
    assert_eq!(with(|it| it.ipv6 = None), [("FZ014", Warning)]);
    assert_eq!(with(|it| it.way_out = Some(("ppp0".to_owned(), 1280))), [("FZ015", Warning)]);
    assert_eq!(with(|it| it.others = vec!["wg0".to_owned()]), [("FZ016", Warning)]);
    assert_eq!(with(|it| it.captive = Some(true)), [("FZ017", Failed)]);
}

#[test]
fn a_dead_daemon_is_seen_with_what_it_has_left() {
    let facts = Facts {
        has_bus: true,
        has_polkit: Some(true),
        daemon: Whereabouts::Nowhere,
        nameservers: vec!["100.100.111.1".to_owned()],
        rules: Some(6),
        knock: Some(Err("api.firezone.dev: refused".to_owned())),
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
