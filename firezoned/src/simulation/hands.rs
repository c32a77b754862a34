//! The hands of the simulation: what the session wants done comes true after a while.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dbus_api::{Warning, WarningCode};
use model::PublicKey;
use session::{Account, Effect, Input, NamesRequest, Reason};

use super::{scenario::Scenario, world::World};

const TUNNEL_OPENS: Duration = Duration::from_millis(150);
const TUNNEL_CLOSES: Duration = Duration::from_millis(100);
const PORTAL_ANSWERS: Duration = Duration::from_millis(900);
const PORTAL_SPEAKS: Duration = Duration::from_millis(950);
const HOST_OBEYS: Duration = Duration::from_millis(120);
/// How long after joining the portal a [`Scenario`] continues.
const SCENARIO_CONTINUES: Duration = Duration::from_secs(3);
/// How often something happens unasked.
const BEAT: Duration = Duration::from_secs(3);
/// How long the portal or the network is away.
const OUTAGE: Duration = Duration::from_secs(5);

/// Everything that the session moves, made up. Driven like every machine here: what it announces by
/// [`Self::poll_timeout`] comes from [`Self::poll_input`] once it is due.
#[derive(Debug)]
pub(super) struct Hands {
    world: World,
    is_calm: bool,
    scenario: Scenario,
    /// What will happen, in this order. Bounded: each effect adds a few, and whatever closes takes its own away.
    agenda: BTreeMap<(Instant, u64), (Scene, Input)>,
    entries: u64,
    /// When something happens unasked next, if the portal is joined.
    beat: Option<Instant>,
    beats: u64,
}

/// To what an entry of the agenda belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scene {
    Tunnel,
    Link,
    Host,
}

impl Hands {
    pub(super) fn new(resources: u16, is_calm: bool, now: Instant) -> Self {
        Self {
            world: World::new(resources, now),
            is_calm,
            scenario: Scenario::Connects,
            agenda: BTreeMap::new(),
            entries: 0,
            beat: None,
            beats: 0,
        }
    }

    /// Begins to carry out one effect.
    pub(super) fn carry_out(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::OpenTunnel(account) => self.open_tunnel(&account, now),
            Effect::CloseTunnel => {
                self.strike(Scene::Tunnel);
                self.enter(now + TUNNEL_CLOSES, Scene::Tunnel, Input::TunnelClosed);
            }
            Effect::ResetTunnel => {
                self.world.reset();
                self.enter(now + TUNNEL_OPENS, Scene::Tunnel, Input::NewPublicKey(self.key()));
            }
            Effect::TunnelInternetResource(is_on) => {
                self.world.use_internet(is_on);
                self.enter(now, Scene::Link, Input::Resources(self.world.resources()));
            }
            Effect::Names(NamesRequest::Flush(reply) | NamesRequest::Reapply(reply)) => reply.accept(),
            // Nobody answers names here: as without a tunnel.
            Effect::Names(NamesRequest::Status(_) | NamesRequest::Explain(..)) => {}

            Effect::OpenLink { .. } => self.open_link(now),
            Effect::CloseLink => {
                self.strike(Scene::Link);
                self.beat = None;
            }
            Effect::Reconnect(_) => {
                self.strike(Scene::Link);
                self.open_link(now);
            }
            Effect::Host(wish) => {
                let warnings = if wish.is_untouched() { Vec::new() } else { vec![warning()] };
                self.strike(Scene::Host);
                self.enter(now + HOST_OBEYS, Scene::Host, Input::HostApplied { wish, warnings });
            }
            Effect::ToTunnel(_)
            | Effect::TunnelResolvers(_)
            | Effect::LinkResolvers(_)
            | Effect::ToPortal(_)
            | Effect::Publish(_) => {}
        }
    }

    /// The paths to the gateways.
    pub(super) fn paths(&self, now: Instant) -> Vec<tunnel::PathView> {
        self.world.paths(now)
    }

    /// When something happens next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let entry = self.agenda.first_key_value().map(|((at, _), _)| *at);
        entry.into_iter().chain(self.beat).min()
    }

    /// What has happened, one thing at a time.
    pub(super) fn poll_input(&mut self, now: Instant) -> Option<Input> {
        if self.beat.is_some_and(|at| at <= now) {
            self.beat = Some(now + BEAT);
            self.happen(now);
        }
        let entry = self.agenda.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (_, input) = entry.remove();
        if matches!(input, Input::Joined) && !self.is_calm {
            self.beat.get_or_insert(now + BEAT);
        }
        Some(input)
    }

    fn open_tunnel(&mut self, account: &Account, now: Instant) {
        if let Some(input) = self.scenario.end() {
            self.enter(now, Scene::Host, input);
        }
        self.scenario = Scenario::of(account.token.expose());
        self.strike(Scene::Tunnel);
        self.world.reset();
        let outcome = match self.scenario {
            Scenario::InterfaceBusy => Input::TunnelFailed(Reason::TunBusy),
            _ => Input::TunnelOpened(self.key()),
        };
        self.enter(now + TUNNEL_OPENS, Scene::Tunnel, outcome);
    }

    fn open_link(&mut self, now: Instant) {
        let answer = now + PORTAL_ANSWERS;
        let failure = self.scenario.instead_of_joining();
        if !failure.is_empty() {
            for input in failure {
                self.enter(answer, Scene::Link, input);
            }
            return;
        }
        self.enter(answer, Scene::Link, Input::Joined);
        let speaks = now + PORTAL_SPEAKS;
        self.enter(speaks, Scene::Link, Input::Interface(self.world.interface()));
        self.enter(speaks, Scene::Link, Input::Resources(self.world.resources()));
        self.enter(speaks, Scene::Link, Input::Devices(self.world.devices()));
        if let Some(input) = self.scenario.after_joining() {
            self.enter(speaks + SCENARIO_CONTINUES, Scene::Link, input);
        }
    }

    /// Something that nobody asked for.
    fn happen(&mut self, now: Instant) {
        self.beats += 1;
        match self.beats % 60 {
            20 | 40 => {
                self.enter(now, Scene::Link, Input::Lost(Reason::PortalUnreachable));
                self.enter(now + OUTAGE, Scene::Link, Input::Joined);
            }
            50 => {
                self.enter(now, Scene::Link, Input::NetworkLost);
                self.enter(now, Scene::Link, Input::Lost(Reason::PortalUnreachable));
                self.enter(now + OUTAGE, Scene::Host, Input::NetworkChanged);
            }
            beat => {
                self.world.move_on(beat);
                self.enter(now, Scene::Link, Input::Resources(self.world.resources()));
            }
        }
    }

    fn enter(&mut self, at: Instant, scene: Scene, input: Input) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), (scene, input));
    }

    /// What belongs to this does not happen any more.
    fn strike(&mut self, scene: Scene) {
        self.agenda.retain(|_, (other, _)| *other != scene);
    }

    /// A new one each time, and nobody's.
    fn key(&self) -> PublicKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.entries.to_be_bytes());
        PublicKey(key)
    }
}

/// So that nobody takes it for what it is not.
fn warning() -> Warning {
    Warning {
        code: WarningCode::Simulation,
        text: "This is a simulation: nothing is connected, and nothing on this machine changes.".to_owned(),
    }
}
