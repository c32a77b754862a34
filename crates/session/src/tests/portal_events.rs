//! Outages and verdicts of the portal.

use super::*;

#[test]
fn rejected_token_ends_a_user_session_for_good() {
    for (verdict, code) in [
        (Reason::InvalidToken, "invalid_token"),
        (Reason::MissingToken, "missing_token"),
        (Reason::TokenExpired, "token_expired"),
    ] {
        let mut world = World::connected();
        world.feed(PortalEvent::Ended(verdict));
        world.feed(TunnelEvent::Closed);
        world.apply_host_config();
        assert_eq!((world.state(), world.reason()), (State::SignedOut, code));
        world.advance(Duration::from_secs(86_400));
        assert_eq!(world.take_effects(), ["close tunnel", "close link", "restore host"]);
        world.sign_in("fresh");
        assert_eq!((world.state(), world.reason()), (State::Connecting, ""));
    }
}

#[test]
fn rejected_service_token_is_retried_at_long_intervals() {
    let mut world = World::new(Mode::Service);
    world.feed(DaemonEvent::Start(account("token")));
    let mut attempts = 0;
    for _ in 0..24 * 60 {
        let opened = world.take_effects().iter().filter(|word| *word == "open tunnel").count();
        if opened > 0 {
            attempts += opened;
            world.feed(TunnelEvent::Opened(key(1)));
            world.feed(PortalEvent::Ended(Reason::InvalidToken));
            world.feed(TunnelEvent::Closed);
            world.apply_host_config();
            assert_eq!((world.state(), world.reason()), (State::Connecting, "invalid_token"));
        }
        world.advance(Duration::from_secs(60));
    }
    assert!((90..=110).contains(&attempts), "{attempts} attempts in a day");

    world.feed(DaemonEvent::Reset);
    assert_eq!(world.take_effects(), ["open tunnel"]);
}

#[test]
fn new_service_token_replaces_the_session() {
    let mut world = World::new(Mode::Service);
    world.feed(DaemonEvent::Start(account("token")));
    world.connect();
    world.effects.clear();
    world.feed(DaemonEvent::Start(account("token")));
    assert_eq!(world.take_effects(), [""; 0]);
    world.feed(DaemonEvent::Start(account("other")));
    world.feed(TunnelEvent::Closed);
    world.apply_host_config();
    world.feed(TunnelEvent::Opened(key(2)));
    assert_eq!(world.take_effects().last().unwrap(), "open link as other");
}

#[test]
fn portal_outage_of_an_hour_changes_only_the_state() {
    let mut world = World::connected();
    world.feed(PortalEvent::Lost(Reason::PortalUnreachable));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, "portal_unreachable"));
    world.advance(Duration::from_secs(3600));
    assert_eq!(world.take_effects(), [""; 0]);
    world.feed(PortalEvent::Joined);
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
    assert_eq!(world.take_effects(), [""; 0]);
}

#[test]
fn rejection_is_published_with_status_code_and_detail() {
    let rejection = |status, code: &str, detail: &str| {
        let body = format!(r#"{{"code":"{code}","detail":"{detail}"}}"#);
        let kind = Some("application/problem+json");
        PortalEvent::Rejected(portal::Rejection::parse(status, kind, None, body.as_bytes(), std::time::UNIX_EPOCH))
    };
    let warnings = |world: &World| -> Vec<String> {
        world.session.snapshot().warnings.iter().map(|it| format!("{}: {}", it.code, it.text)).collect()
    };
    let mut world = World::connected();
    world.feed(rejection(503, "rate_limit", "Too fast"));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, ""), "a rate limit is not published");
    assert_eq!(warnings(&world), [""; 0]);

    world.feed(rejection(402, "limits_exceeded", "Too many users"));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, "portal_rejected"));
    let shown = "portal-refuses: the portal answered with status 402 (limits_exceeded): Too many users";
    assert_eq!(warnings(&world), [shown]);
    world.feed(rejection(500, "", ""));
    assert_eq!(world.reason(), "portal_unreachable");

    world.feed(PortalEvent::Joined);
    assert_eq!((world.state(), warnings(&world)), (State::Connected, vec![]));
}

#[test]
fn messages_of_a_superseded_portal_connection_are_ignored() {
    let mut world = World::connected();
    world.feed(HostEvent::NetworkChanged);
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    world.effects.clear();
    world.feed(PortalEvent::Message(FromPortal::ResourceDeleted(ResourceId::from_u128(1))));
    assert_eq!(world.take_effects(), [""; 0]);
}

#[test]
fn messages_for_the_portal_are_passed_on() {
    let mut world = World::connected();
    world.feed(TunnelEvent::ToPortal(ToPortal::NoRelays));
    assert_eq!(world.take_effects(), ["to portal"]);
}
