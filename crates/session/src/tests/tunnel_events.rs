//! Faults and resets of the tunnel.

use super::*;

#[test]
fn tunnel_is_reset_when_it_needs_a_new_key() {
    let mut world = World::connected();
    world.feed(TunnelEvent::NewKeyNeeded);
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    assert_eq!(world.take_effects(), ["reset tunnel", "reconnect"]);
}

#[test]
fn local_fault_keeps_the_token_and_is_retried() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(TunnelEvent::OpenFailed(Reason::TunBusy));
    world.apply_host_config();
    assert_eq!((world.state(), world.reason()), (State::Connecting, "tun_busy"));
    assert_eq!(world.take_effects(), ["open tunnel", "close link", "restore host"]);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.take_effects(), ["open tunnel"]);
    world.connect();
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn packet_thread_is_restarted_after_it_died() {
    let mut world = World::connected();
    world.feed(TunnelEvent::Died);
    assert_eq!(world.take_effects(), RESTORED);
    world.apply_host_config();
    assert_eq!((world.state(), world.reason()), (State::Connecting, "tunnel_failed"));
    world.advance(Duration::from_secs(2));
    assert_eq!(world.take_effects(), ["open tunnel"]);
}

#[test]
fn reset_can_be_repeated() {
    let mut world = World::connected();
    for _ in 0..5 {
        world.feed(DaemonEvent::Reset);
    }
    assert_eq!(world.take_effects(), ["reset tunnel"; 5]);
    assert_eq!(World::user().request(Request::Reset), Ok(()));
}

#[test]
fn internet_resource_setting_outlives_sessions() {
    let mut world = World::user();
    assert_eq!(world.request(Request::SetInternetResource(true)), Ok(()));
    assert!(world.session.snapshot().internet_resource_active);
    world.sign_in("token");
    world.connect();
    assert!(world.take_effects().contains(&"internet resource true".to_owned()));
    for on in [true, false] {
        assert_eq!(world.request(Request::SetInternetResource(on)), Ok(()));
    }
    assert_eq!(world.take_effects(), ["internet resource false"]);
}
