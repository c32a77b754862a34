//! Changes of the network and of the machine.

use super::*;

#[test]
fn boot_without_network_waits_for_the_network() {
    let mut world = World::new(Mode::Service);
    world.feed(HostEvent::NetworkLost);
    world.feed(DaemonEvent::Start(account("token")));
    world.feed(TunnelEvent::Opened(key(1)));
    world.feed(PortalEvent::Lost(Reason::PortalUnreachable));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "no_network"));
    world.feed(HostEvent::NetworkChanged);
    assert_eq!(world.state(), State::Connecting);
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    world.feed(PortalEvent::Joined);
    world.feed(TunnelEvent::InterfaceChanged(interface()));
    world.apply_host_config();
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn network_change_resets_tunnel_and_portal_once() {
    let mut world = World::connected();
    world.feed(HostEvent::NetworkChanged);
    assert_eq!(world.state(), State::Reconnecting, "at once, so that a caller can wait for its end");
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    assert_eq!(world.take_effects(), ["reset tunnel", "reconnect"]);
    world.feed(PortalEvent::Joined);
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn changed_resolvers_are_passed_on_once() {
    let mut world = World::connected();
    for _ in 0..2 {
        world.feed(HostEvent::ResolversChanged(vec![Resolver::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))]));
    }
    assert_eq!(world.take_effects(), ["tunnel resolvers [127.0.0.1]", "link resolvers [127.0.0.1]"]);
}

#[test]
fn captive_portal_is_published_and_its_end_triggers_a_reset() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(HostEvent::CaptivePortal(true));
    world.feed(TunnelEvent::Opened(key(1)));
    world.feed(PortalEvent::Lost(Reason::PortalTls));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "captive_portal"));
    world.take_effects();

    world.feed(HostEvent::CaptivePortal(false));
    assert_eq!((world.state(), world.reason()), (State::Connecting, "portal_tls"));
    assert_eq!(world.take_effects(), ["reset tunnel"]);

    // A captive portal is ignored while the portal is joined.
    world.feed(PortalEvent::Joined);
    world.feed(TunnelEvent::InterfaceChanged(interface()));
    world.apply_host_config();
    world.take_effects();
    world.feed(HostEvent::CaptivePortal(true));
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
    world.feed(HostEvent::CaptivePortal(false));
    assert_eq!(world.take_effects(), [""; 0]);
}

#[test]
fn suspend_is_published_and_resume_resets_the_tunnel() {
    let mut world = World::connected();
    world.take_effects();
    world.feed(HostEvent::Sleeping(true));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "suspended"));
    assert_eq!(world.take_effects(), [""; 0], "the tunnel stays");

    world.feed(HostEvent::Sleeping(false));
    world.feed(HostEvent::NetworkChanged);
    assert_eq!(world.take_effects(), ["reset tunnel"]);
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, ""));
    world.feed(PortalEvent::Joined);
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn join_ends_the_suspended_state_without_a_resume_event() {
    let mut world = World::connected();
    world.feed(HostEvent::Sleeping(true));
    world.feed(TunnelEvent::NewPublicKey(key(2)));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "suspended"));
    world.feed(PortalEvent::Joined);
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
}
