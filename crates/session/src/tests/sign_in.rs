//! Sign-in, sign-out and the account of the session.

use super::*;

#[test]
fn sign_in_opens_tunnel_then_portal_then_configures_the_host() {
    let mut world = World::user();
    world.feed(HostEvent::ResolversChanged(vec![Resolver::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))]));
    assert_eq!(world.state(), State::SignedOut);

    world.sign_in("token");
    assert_eq!(world.state(), State::Connecting);
    assert_eq!(world.take_effects(), ["open tunnel"]);
    world.feed(TunnelEvent::Opened(key(1)));
    assert_eq!(world.take_effects(), ["tunnel resolvers [127.0.0.1]", "internet resource false", "open link as token"]);
    world.feed(PortalEvent::Joined);
    world.feed(PortalEvent::Message(FromPortal::ResourceDeleted(ResourceId::from_u128(1))));
    world.feed(TunnelEvent::InterfaceChanged(interface()));
    assert_eq!(world.take_effects(), ["to tunnel", "configure host"]);
    assert_eq!(world.state(), State::Connecting);
    world.apply_host_config();
    assert_eq!(world.state(), State::Connected);

    let snapshot = world.session.snapshot();
    assert_eq!(snapshot.tunnel, Some((Ipv4Addr::new(100, 64, 0, 1), Ipv6Addr::LOCALHOST)));
    assert_eq!(snapshot.account_slug.as_deref(), Some("acme"));
}

#[test]
fn sign_out_closes_the_tunnel_before_the_host_is_restored() {
    let mut world = World::connected();
    world.sign_out();
    assert_eq!((world.state(), world.take_effects()), (State::SigningOut, vec!["close tunnel".to_owned()]));
    world.feed(TunnelEvent::Closed);
    assert_eq!(world.take_effects(), RESTORED);
    assert_eq!(world.state(), State::SigningOut);
    world.apply_host_config();
    assert_eq!((world.state(), world.reason()), (State::SignedOut, ""));
    assert_eq!(world.session.snapshot().account_slug, None);
}

#[test]
fn repeated_sign_out_has_no_effect() {
    let mut world = World::user();
    world.sign_out();
    assert_eq!(world.take_effects(), [""; 0]);
    let mut world = World::connected();
    world.sign_out();
    world.sign_out();
    assert_eq!(world.take_effects(), ["close tunnel"]);
}

#[test]
fn sign_in_with_the_same_token_changes_nothing() {
    let mut world = World::connected();
    let before = world.session.snapshot().generation;
    world.sign_in("token");
    assert_eq!(world.take_effects(), [""; 0]);
    assert_eq!(world.session.snapshot().generation, before);
}

#[test]
fn sign_in_with_another_token_replaces_the_session() {
    let mut world = World::connected();
    world.sign_in("other");
    world.feed(TunnelEvent::Closed);
    world.apply_host_config();
    assert_eq!(world.state(), State::Connecting);
    world.feed(TunnelEvent::Opened(key(2)));
    let effects = world.take_effects();
    assert_eq!(effects.first().unwrap(), "close tunnel");
    assert_eq!(effects.last().unwrap(), "open link as other");
}

#[test]
fn sign_in_during_sign_out_waits_until_the_session_has_ended() {
    let mut world = World::connected();
    world.sign_out();
    world.sign_in("token");
    assert_eq!(world.take_effects(), ["close tunnel"]);
    world.feed(TunnelEvent::Closed);
    world.apply_host_config();
    assert_eq!(world.take_effects(), ["close link", "restore host", "open tunnel"]);
}

#[test]
fn sign_in_while_waiting_connects_at_once() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(TunnelEvent::OpenFailed(Reason::TunBusy));
    world.apply_host_config();
    world.effects.clear();
    world.sign_in("token");
    assert_eq!(world.take_effects(), ["open tunnel"]);
}

#[test]
fn account_is_kept_until_sign_out_and_unchanged_when_the_daemon_stops() {
    let mut world = World::user();
    assert_eq!(world.session.account_to_keep(), AccountToKeep::None);
    world.sign_in("first");
    assert_eq!(world.session.account_to_keep(), AccountToKeep::Account(&account("first")));
    world.connect();
    world.feed(PortalEvent::Lost(Reason::PortalUnreachable));
    assert_eq!(world.session.account_to_keep(), AccountToKeep::Account(&account("first")));
    world.sign_in("second");
    assert_eq!(
        world.session.account_to_keep(),
        AccountToKeep::Account(&account("second")),
        "while the first session is taken down"
    );
    world.feed(DaemonEvent::Stop);
    assert_eq!(world.session.account_to_keep(), AccountToKeep::Unchanged);

    let mut world = World::connected();
    world.feed(PortalEvent::Ended(Reason::TunnelFailed));
    assert_eq!(world.session.account_to_keep(), AccountToKeep::Account(&account("token")), "the session is retried");
    world.sign_out();
    assert_eq!(world.session.account_to_keep(), AccountToKeep::None);
    world.feed(DaemonEvent::Stop);
    assert_eq!(world.session.account_to_keep(), AccountToKeep::Unchanged);
}

#[test]
fn user_who_asked_for_the_session_or_its_end_is_published() {
    let mut world = World::user();
    let asked_by = |world: &World| world.session.snapshot().asked_by;
    world.request(Request::SignIn { account: account("a"), uid: 1000 }).unwrap();
    world.connect();
    assert_eq!(asked_by(&world), Some(1000));
    // The same token again changes nothing.
    world.request(Request::SignIn { account: account("a"), uid: 1001 }).unwrap();
    assert_eq!(asked_by(&world), Some(1000));
    world.request(Request::SignOut { uid: 1001 }).unwrap();
    world.advance(Duration::from_secs(20));
    // There is no session that could end.
    world.request(Request::SignOut { uid: 1002 }).unwrap();
    assert_eq!((world.state(), asked_by(&world)), (State::SignedOut, Some(1001)));

    world.request(Request::SignIn { account: account("b"), uid: 1000 }).unwrap();
    world.connect();
    world.feed(PortalEvent::Ended(Reason::TokenExpired));
    world.advance(Duration::from_secs(20));
    assert_eq!((world.state(), asked_by(&world)), (State::SignedOut, None));
}
