//! Warnings, generations and the end of the daemon.

use super::*;

#[test]
fn warnings_are_added_and_withdrawn() {
    let mut world = World::connected();
    let config = world.host_config.clone();
    let warning = Warning { code: WarningCode::DnsNotServed, text: "port 53 is taken".to_owned() };
    world.feed(HostEvent::Applied { config, warnings: vec![warning.clone()] });
    world.feed(TunnelEvent::GatewaysOffline(ResourceId::from_u128(7)));
    let codes: Vec<_> = world.session.snapshot().warnings.iter().map(|it| it.code.clone()).collect();
    assert_eq!(codes, [WarningCode::DnsNotServed, WarningCode::GatewaysOffline]);
    assert_eq!(world.state(), State::Connected);

    world.feed(TunnelEvent::ResourcesChanged(Vec::new()));
    world.apply_host_config();
    assert!(world.session.snapshot().warnings.is_empty());
}

#[test]
fn generations_increase_only_with_changes() {
    let mut world = World::connected();
    let before = world.session.snapshot().clone();
    world.feed(PortalEvent::Joined);
    assert_eq!(*world.session.snapshot(), before);
    world.feed(PortalEvent::Lost(Reason::PortalUnreachable));
    let after = world.session.snapshot();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.resources_generation, before.resources_generation);
}

#[test]
fn stop_takes_everything_down_without_any_response() {
    let mut world = World::connected();
    world.feed(DaemonEvent::Stop);
    assert!(!world.session.is_stopped());
    world.advance(Duration::from_secs(8));
    assert_eq!(world.take_effects(), ["close tunnel", "close link", "restore host"]);
    assert!(world.session.is_stopped());
}

#[test]
fn requests_are_refused_while_the_daemon_stops() {
    let mut world = World::connected();
    world.feed(DaemonEvent::Stop);
    let early = world.request(Request::SignIn { account: account("other"), uid: UID });
    world.feed(TunnelEvent::Closed);
    world.apply_host_config();
    let late = world.request(Request::SignOut { uid: UID });
    assert!(world.session.is_stopped());
    assert_eq!(early, Err(Refused::Stopping));
    assert_eq!(late, Err(Refused::Stopping));
}
