//! The life of a session, told as stories in virtual time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use dbus_api::{State, Warning, WarningCode};
use model::{FromPortal, PublicKey, Resolver, ResourceId, ToPortal};
use tokio::sync::oneshot;
use tunnel::InterfaceConfig;

use super::{Account, Effect, Input, Mode, Reason, Refused, Reply, Request, Session, Whose};
use crate::host_config::HostConfig;

/// A session, and a clock that the story moves.
struct World {
    session: Session,
    now: Instant,
    /// All effects but publications, in words.
    done: Vec<String>,
    wish: HostConfig,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first")]
    fn new(mode: Mode) -> Self {
        let now = Instant::now();
        Self { session: Session::new(mode, false, now), now, done: Vec::new(), wish: HostConfig::default() }
    }

    fn user() -> Self {
        Self::new(Mode::User)
    }

    /// Signed in and connected.
    fn connected() -> Self {
        let mut world = Self::user();
        world.sign_in("token");
        world.connect();
        assert_eq!(world.state(), State::Connected);
        world.done.clear();
        world
    }

    fn feed(&mut self, input: Input) {
        self.session.handle(input, self.now);
        while let Some(effect) = self.session.poll_effect() {
            if let Effect::Host(wish) = &effect {
                self.wish = wish.clone();
            }
            if let Some(word) = word(&effect) {
                self.done.push(word);
            }
        }
    }

    fn ask(&mut self, request: impl FnOnce(Reply) -> Request) -> oneshot::Receiver<Result<(), Refused>> {
        let (reply, answer) = Reply::new();
        self.feed(Input::Request(request(reply)));
        answer
    }

    fn sign_in(&mut self, token: &str) {
        let mut answer = self.ask(|reply| Request::SignIn(account(token), reply));
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }

    fn sign_out(&mut self) {
        let mut answer = self.ask(Request::SignOut);
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }

    /// Tunnel, portal and host do what they should.
    fn connect(&mut self) {
        self.feed(Input::TunnelOpened(key(1)));
        self.feed(Input::Joined);
        self.feed(Input::Interface(interface()));
        self.host_obeys();
    }

    fn host_obeys(&mut self) {
        let wish = self.wish.clone();
        self.feed(Input::HostApplied { wish, warnings: Vec::new() });
    }

    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            while let Some(effect) = self.session.poll_effect() {
                self.done.extend(word(&effect));
            }
        }
        self.now = end;
    }

    fn state(&self) -> State {
        self.session.snapshot().state.clone()
    }

    fn reason(&self) -> &'static str {
        self.session.snapshot().reason_code()
    }

    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }
}

fn addresses(resolvers: &[Resolver]) -> Vec<IpAddr> {
    resolvers.iter().map(|resolver| resolver.address.ip()).collect()
}

fn word(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::OpenTunnel(_) => "open tunnel".to_owned(),
        Effect::CloseTunnel => "close tunnel".to_owned(),
        Effect::ResetTunnel => "reset tunnel".to_owned(),
        Effect::ToTunnel(_) => "to tunnel".to_owned(),
        Effect::TunnelResolvers(resolvers) => format!("tunnel resolvers {:?}", addresses(resolvers)),
        Effect::TunnelInternetResource(on) => format!("internet resource {on}"),
        Effect::Names(_) => "names".to_owned(),
        Effect::OpenLink { token, .. } => format!("open link as {}", token.expose()),
        Effect::CloseLink => "close link".to_owned(),
        Effect::Reconnect(_) => "reconnect".to_owned(),
        Effect::LinkResolvers(resolvers) => format!("link resolvers {:?}", addresses(resolvers)),
        Effect::ToPortal(_) => "to portal".to_owned(),
        Effect::Host(wish) if wish.is_untouched() => "restore host".to_owned(),
        Effect::Host(_) => "configure host".to_owned(),
        Effect::Publish(_) => return None,
    })
}

fn account(token: &str) -> Account {
    Account { token: token.into(), slug: Some("acme".to_owned()), actor: None }
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

fn interface() -> InterfaceConfig {
    let sentinel = IpAddr::V4(Ipv4Addr::new(100, 100, 111, 1));
    let upstream = dns::Upstream::Do53("192.0.2.53:53".parse().unwrap());
    InterfaceConfig {
        ipv4: Ipv4Addr::new(100, 64, 0, 1),
        ipv6: Ipv6Addr::LOCALHOST,
        sentinels: vec![(sentinel, upstream)],
        search_domain: None,
        routes: model::address_plan::ranges().into_iter().collect(),
    }
}

const RESTORED: [&str; 2] = ["close link", "restore host"];

#[test]
fn signing_in_opens_the_tunnel_then_the_portal_then_the_host() {
    let mut world = World::user();
    world.feed(Input::ResolversChanged(vec![Resolver::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))]));
    assert_eq!(world.state(), State::SignedOut);

    world.sign_in("token");
    assert_eq!(world.state(), State::Connecting);
    assert_eq!(world.done(), ["open tunnel"]);
    world.feed(Input::TunnelOpened(key(1)));
    assert_eq!(world.done(), ["tunnel resolvers [127.0.0.1]", "internet resource false", "open link as token"]);
    world.feed(Input::Joined);
    world.feed(Input::FromPortal(FromPortal::ResourceDeleted(ResourceId::from_u128(1))));
    world.feed(Input::Interface(interface()));
    assert_eq!(world.done(), ["to tunnel", "configure host"]);
    assert_eq!(world.state(), State::Connecting);
    world.host_obeys();
    assert_eq!(world.state(), State::Connected);

    let snapshot = world.session.snapshot();
    assert_eq!(snapshot.tunnel, Some((Ipv4Addr::new(100, 64, 0, 1), Ipv6Addr::LOCALHOST)));
    assert_eq!(snapshot.account_slug.as_deref(), Some("acme"));
}

#[test]
fn signing_out_says_goodbye_before_anything_is_taken_away() {
    let mut world = World::connected();
    world.sign_out();
    assert_eq!((world.state(), world.done()), (State::SigningOut, vec!["close tunnel".to_owned()]));
    world.feed(Input::TunnelClosed);
    assert_eq!(world.done(), RESTORED);
    assert_eq!(world.state(), State::SigningOut);
    world.host_obeys();
    assert_eq!((world.state(), world.reason()), (State::SignedOut, ""));
    assert_eq!(world.session.snapshot().account_slug, None);
}

#[test]
fn signing_out_twice_is_fine() {
    let mut world = World::user();
    world.sign_out();
    assert_eq!(world.done(), [""; 0]);
    let mut world = World::connected();
    world.sign_out();
    world.sign_out();
    assert_eq!(world.done(), ["close tunnel"]);
}

#[test]
fn the_same_token_again_changes_nothing() {
    let mut world = World::connected();
    let before = world.session.snapshot().generation;
    world.sign_in("token");
    assert_eq!(world.done(), [""; 0]);
    assert_eq!(world.session.snapshot().generation, before);
}

#[test]
fn another_token_replaces_the_session() {
    let mut world = World::connected();
    world.sign_in("other");
    world.feed(Input::TunnelClosed);
    world.host_obeys();
    assert_eq!(world.state(), State::Connecting);
    world.feed(Input::TunnelOpened(key(2)));
    let done = world.done();
    assert_eq!(done.first().unwrap(), "close tunnel");
    assert_eq!(done.last().unwrap(), "open link as other");
}

#[test]
fn a_session_is_its_accounts_until_it_is_signed_out_and_the_daemons_end_changes_nothing() {
    let mut world = World::user();
    assert_eq!(world.session.whose(), Whose::Nobodys);
    world.sign_in("first");
    assert_eq!(world.session.whose(), Whose::Of(&account("first")));
    world.connect();
    world.feed(Input::Lost(Reason::PortalUnreachable));
    assert_eq!(world.session.whose(), Whose::Of(&account("first")));
    world.sign_in("second");
    assert_eq!(world.session.whose(), Whose::Of(&account("second")), "the first one is being taken down");
    world.feed(Input::Stop);
    assert_eq!(world.session.whose(), Whose::AsBefore);

    let mut world = World::connected();
    world.feed(Input::Ended(Reason::TunnelFailed));
    assert_eq!(world.session.whose(), Whose::Of(&account("token")), "it is tried again");
    world.sign_out();
    assert_eq!(world.session.whose(), Whose::Nobodys);
    world.feed(Input::Stop);
    assert_eq!(world.session.whose(), Whose::AsBefore);
}

#[test]
fn signing_in_while_the_last_session_ends_waits_for_its_end() {
    let mut world = World::connected();
    world.sign_out();
    world.sign_in("token");
    assert_eq!(world.done(), ["close tunnel"]);
    world.feed(Input::TunnelClosed);
    world.host_obeys();
    assert_eq!(world.done(), ["close link", "restore host", "open tunnel"]);
}

#[test]
fn the_portals_verdict_ends_a_users_session_for_good() {
    for (verdict, code) in [
        (Reason::InvalidToken, "invalid_token"),
        (Reason::MissingToken, "missing_token"),
        (Reason::TokenExpired, "token_expired"),
    ] {
        let mut world = World::connected();
        world.feed(Input::Ended(verdict));
        world.feed(Input::TunnelClosed);
        world.host_obeys();
        assert_eq!((world.state(), world.reason()), (State::SignedOut, code));
        world.advance(Duration::from_secs(86_400));
        assert_eq!(world.done(), ["close tunnel", "close link", "restore host"]);
        world.sign_in("fresh");
        assert_eq!((world.state(), world.reason()), (State::Connecting, ""));
    }
}

#[test]
fn a_service_tries_a_condemned_token_again_but_slowly() {
    let mut world = World::new(Mode::Service);
    world.feed(Input::Begin(account("token")));
    let mut attempts = 0;
    for _ in 0..24 * 60 {
        let opened = world.done().iter().filter(|word| *word == "open tunnel").count();
        if opened > 0 {
            attempts += opened;
            world.feed(Input::TunnelOpened(key(1)));
            world.feed(Input::Ended(Reason::InvalidToken));
            world.feed(Input::TunnelClosed);
            world.host_obeys();
            assert_eq!((world.state(), world.reason()), (State::Connecting, "invalid_token"));
        }
        world.advance(Duration::from_secs(60));
    }
    assert!((90..=110).contains(&attempts), "{attempts} attempts in a day");

    world.feed(Input::Reset);
    assert_eq!(world.done(), ["open tunnel"]);
}

#[test]
fn a_service_with_another_token_starts_over() {
    let mut world = World::new(Mode::Service);
    world.feed(Input::Begin(account("token")));
    world.connect();
    world.done.clear();
    world.feed(Input::Begin(account("token")));
    assert_eq!(world.done(), [""; 0]);
    world.feed(Input::Begin(account("other")));
    world.feed(Input::TunnelClosed);
    world.host_obeys();
    world.feed(Input::TunnelOpened(key(2)));
    assert_eq!(world.done().last().unwrap(), "open link as other");
}

#[test]
fn a_portal_that_is_away_for_an_hour_costs_nothing_but_news() {
    let mut world = World::connected();
    world.feed(Input::Lost(Reason::PortalUnreachable));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, "portal_unreachable"));
    world.advance(Duration::from_secs(3600));
    assert_eq!(world.done(), [""; 0]);
    world.feed(Input::Joined);
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
    assert_eq!(world.done(), [""; 0]);
}

#[test]
fn a_refusal_is_shown_with_everything_that_the_portal_says_about_it() {
    let rejection = |status, code: &str, detail: &str| {
        let body = format!(r#"{{"code":"{code}","detail":"{detail}"}}"#);
        let kind = Some("application/problem+json");
        Input::Rejected(portal::Rejection::parse(status, kind, None, body.as_bytes(), std::time::UNIX_EPOCH))
    };
    let warnings = |world: &World| -> Vec<String> {
        world.session.snapshot().warnings.iter().map(|it| format!("{}: {}", it.code, it.text)).collect()
    };
    let mut world = World::connected();
    world.feed(rejection(503, "rate_limit", "Too fast"));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, ""), "two attempts in a second are no news");
    assert_eq!(warnings(&world), [""; 0]);

    world.feed(rejection(402, "limits_exceeded", "Too many users"));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, "portal_rejected"));
    let shown = "portal-refuses: the portal answered with status 402 (limits_exceeded): Too many users";
    assert_eq!(warnings(&world), [shown]);
    world.feed(rejection(500, "", ""));
    assert_eq!(world.reason(), "portal_unreachable");

    world.feed(Input::Joined);
    assert_eq!((world.state(), warnings(&world)), (State::Connected, vec![]));
}

#[test]
fn a_boot_without_network_waits_for_it() {
    let mut world = World::new(Mode::Service);
    world.feed(Input::NetworkLost);
    world.feed(Input::Begin(account("token")));
    world.feed(Input::TunnelOpened(key(1)));
    world.feed(Input::Lost(Reason::PortalUnreachable));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "no_network"));
    world.feed(Input::NetworkChanged);
    assert_eq!(world.state(), State::Connecting);
    world.feed(Input::NewPublicKey(key(2)));
    world.feed(Input::Joined);
    world.feed(Input::Interface(interface()));
    world.host_obeys();
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_change_of_network_makes_everything_anew_in_one_sequence() {
    let mut world = World::connected();
    world.feed(Input::NetworkChanged);
    assert_eq!(world.state(), State::Reconnecting, "at once, so whoever asked for it can wait for its end");
    world.feed(Input::NewPublicKey(key(2)));
    assert_eq!(world.done(), ["reset tunnel", "reconnect"]);
    world.feed(Input::Joined);
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn what_a_superseded_connection_has_said_is_not_heard() {
    let mut world = World::connected();
    world.feed(Input::NetworkChanged);
    world.feed(Input::NewPublicKey(key(2)));
    world.done.clear();
    world.feed(Input::FromPortal(FromPortal::ResourceDeleted(ResourceId::from_u128(1))));
    assert_eq!(world.done(), [""; 0]);
}

#[test]
fn a_tunnel_that_needs_a_new_key_gets_one() {
    let mut world = World::connected();
    world.feed(Input::NewKeyNeeded);
    world.feed(Input::NewPublicKey(key(2)));
    assert_eq!(world.done(), ["reset tunnel", "reconnect"]);
}

#[test]
fn reset_works_any_number_of_times() {
    let mut world = World::connected();
    for _ in 0..5 {
        world.feed(Input::Reset);
    }
    assert_eq!(world.done(), ["reset tunnel"; 5]);
    let mut answer = World::user().ask(Request::Reset);
    assert_eq!(answer.try_recv(), Ok(Ok(())));
}

#[test]
fn new_resolvers_are_passed_down_once() {
    let mut world = World::connected();
    for _ in 0..2 {
        world.feed(Input::ResolversChanged(vec![Resolver::plain(IpAddr::V4(Ipv4Addr::LOCALHOST))]));
    }
    assert_eq!(world.done(), ["tunnel resolvers [127.0.0.1]", "link resolvers [127.0.0.1]"]);
}

#[test]
fn a_local_fault_keeps_the_token_and_is_tried_again() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(Input::TunnelFailed(Reason::TunBusy));
    world.host_obeys();
    assert_eq!((world.state(), world.reason()), (State::Connecting, "tun_busy"));
    assert_eq!(world.done(), ["open tunnel", "close link", "restore host"]);
    world.advance(Duration::from_secs(2));
    assert_eq!(world.done(), ["open tunnel"]);
    world.connect();
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn a_packet_thread_that_dies_is_replaced() {
    let mut world = World::connected();
    world.feed(Input::TunnelDied);
    assert_eq!(world.done(), RESTORED);
    world.host_obeys();
    assert_eq!((world.state(), world.reason()), (State::Connecting, "tunnel_failed"));
    world.advance(Duration::from_secs(2));
    assert_eq!(world.done(), ["open tunnel"]);
}

#[test]
fn whoever_signs_in_does_not_wait_for_the_next_attempt() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(Input::TunnelFailed(Reason::TunBusy));
    world.host_obeys();
    world.done.clear();
    world.sign_in("token");
    assert_eq!(world.done(), ["open tunnel"]);
}

#[test]
fn the_internet_resource_stays_switched_across_sessions() {
    let mut world = World::user();
    let mut answer = world.ask(|reply| Request::SetInternetResource(true, reply));
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert!(world.session.snapshot().internet_resource_active);
    world.sign_in("token");
    world.connect();
    assert!(world.done().contains(&"internet resource true".to_owned()));
    for on in [true, false] {
        world.ask(|reply| Request::SetInternetResource(on, reply));
    }
    assert_eq!(world.done(), ["internet resource false"]);
}

#[test]
fn stopping_takes_everything_down_even_if_nothing_answers() {
    let mut world = World::connected();
    world.feed(Input::Stop);
    assert!(!world.session.is_stopped());
    world.advance(Duration::from_secs(8));
    assert_eq!(world.done(), ["close tunnel", "close link", "restore host"]);
    assert!(world.session.is_stopped());
}

#[test]
fn whoever_asks_a_daemon_that_stops_is_told() {
    let mut world = World::connected();
    world.feed(Input::Stop);
    let mut early = world.ask(|reply| Request::SignIn(account("other"), reply));
    world.feed(Input::TunnelClosed);
    world.host_obeys();
    let mut late = world.ask(Request::SignOut);
    assert!(world.session.is_stopped());
    assert_eq!(early.try_recv(), Ok(Err(Refused::Stopping)));
    assert_eq!(late.try_recv(), Ok(Err(Refused::Stopping)));
}

#[test]
fn warnings_come_and_go() {
    let mut world = World::connected();
    let wish = world.wish.clone();
    let warning = Warning { code: WarningCode::DnsNotServed, text: "port 53 is taken".to_owned() };
    world.feed(Input::HostApplied { wish, warnings: vec![warning.clone()] });
    world.feed(Input::GatewaysOffline(ResourceId::from_u128(7)));
    let codes: Vec<_> = world.session.snapshot().warnings.iter().map(|it| it.code.clone()).collect();
    assert_eq!(codes, [WarningCode::DnsNotServed, WarningCode::GatewaysOffline]);
    assert_eq!(world.state(), State::Connected);

    world.feed(Input::Resources(Vec::new()));
    world.host_obeys();
    assert!(world.session.snapshot().warnings.is_empty());
}

#[test]
fn the_tunnels_words_for_the_portal_are_passed_on() {
    let mut world = World::connected();
    world.feed(Input::ToPortal(ToPortal::NoRelays));
    assert_eq!(world.done(), ["to portal"]);
}

#[test]
fn numbers_only_grow_and_only_with_changes() {
    let mut world = World::connected();
    let before = world.session.snapshot().clone();
    world.feed(Input::Joined);
    assert_eq!(*world.session.snapshot(), before);
    world.feed(Input::Lost(Reason::PortalUnreachable));
    let after = world.session.snapshot();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.resources_generation, before.resources_generation);
}

#[test]
fn a_network_that_wants_a_browser_is_shown_and_left_at_once() {
    let mut world = World::user();
    world.sign_in("token");
    world.feed(Input::CaptivePortal(true));
    world.feed(Input::TunnelOpened(key(1)));
    world.feed(Input::Lost(Reason::PortalTls));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "captive_portal"));
    world.done();

    world.feed(Input::CaptivePortal(false));
    assert_eq!((world.state(), world.reason()), (State::Connecting, "portal_tls"));
    assert_eq!(world.done(), ["reset tunnel"]);

    // Somebody else's opinion about a network that works for us.
    world.feed(Input::Joined);
    world.feed(Input::Interface(interface()));
    world.host_obeys();
    world.done();
    world.feed(Input::CaptivePortal(true));
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
    world.feed(Input::CaptivePortal(false));
    assert_eq!(world.done(), [""; 0]);
}

#[test]
fn a_machine_that_sleeps_is_not_connected_and_starts_over_when_it_wakes() {
    let mut world = World::connected();
    world.done();
    world.feed(Input::Asleep(true));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "suspended"));
    assert_eq!(world.done(), [""; 0], "nothing is taken down");

    world.feed(Input::Asleep(false));
    world.feed(Input::NetworkChanged);
    assert_eq!(world.done(), ["reset tunnel"]);
    world.feed(Input::NewPublicKey(key(2)));
    assert_eq!((world.state(), world.reason()), (State::Reconnecting, ""));
    world.feed(Input::Joined);
    assert_eq!(world.state(), State::Connected);
}

#[test]
fn whoever_joins_is_awake_although_nobody_said_so() {
    let mut world = World::connected();
    world.feed(Input::Asleep(true));
    world.feed(Input::NewPublicKey(key(2)));
    assert_eq!((world.state(), world.reason()), (State::WaitingForNetwork, "suspended"));
    world.feed(Input::Joined);
    assert_eq!((world.state(), world.reason()), (State::Connected, ""));
}

#[test]
fn it_is_known_who_asked_for_a_session_and_who_for_its_end() {
    let mut world = World::user();
    let asked_by = |world: &World| world.session.snapshot().asked_by;
    let _answer = world.ask(|reply| Request::SignIn(account("a"), reply.by(1000)));
    world.connect();
    assert_eq!(asked_by(&world), Some(1000));
    // The same token again changes nothing.
    let _answer = world.ask(|reply| Request::SignIn(account("a"), reply.by(1001)));
    assert_eq!(asked_by(&world), Some(1000));
    let _answer = world.ask(|reply| Request::SignOut(reply.by(1001)));
    world.advance(Duration::from_secs(20));
    // What is over cannot be ended.
    let _answer = world.ask(|reply| Request::SignOut(reply.by(1002)));
    assert_eq!((world.state(), asked_by(&world)), (State::SignedOut, Some(1001)));

    let _answer = world.ask(|reply| Request::SignIn(account("b"), reply.by(1000)));
    world.connect();
    world.feed(Input::Ended(Reason::TokenExpired));
    world.advance(Duration::from_secs(20));
    assert_eq!((world.state(), asked_by(&world)), (State::SignedOut, None));
}
