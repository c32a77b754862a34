//! Simulates the results of effects after realistic delays.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dbus_api::{Warning, WarningCode};
use model::PublicKey;
use session::{Account, Effect, HostEvent, Input, PortalCommand, PortalEvent, Reason, TunnelCommand, TunnelEvent};

use super::{scenario::Scenario, world::World};

const TUNNEL_OPEN_DELAY: Duration = Duration::from_millis(150);
const TUNNEL_CLOSE_DELAY: Duration = Duration::from_millis(100);
const JOIN_DELAY: Duration = Duration::from_millis(900);
const INIT_DELAY: Duration = Duration::from_millis(950);
const HOST_DELAY: Duration = Duration::from_millis(120);
/// How long after joining the portal a [`Scenario`] continues.
const SCENARIO_DELAY: Duration = Duration::from_secs(3);
/// The interval between spontaneous changes.
const CHANGE_INTERVAL: Duration = Duration::from_secs(3);
/// The duration of an outage of the portal or the network.
const OUTAGE: Duration = Duration::from_secs(5);

/// The simulated tunnel, portal and host. Inputs are scheduled: [`Self::poll_input`] returns them once
/// [`Self::poll_timeout`] has passed.
#[derive(Debug)]
pub(super) struct SimulatedRunner {
    world: World,
    is_calm: bool,
    scenario: Scenario,
    /// Inputs by time. Bounded: each effect adds a few, and closing a source removes its inputs.
    schedule: BTreeMap<(Instant, u64), (Source, Input)>,
    entries: u64,
    /// The time of the next spontaneous change, if the portal is joined.
    next_change: Option<Instant>,
    changes: u64,
}

/// The source of a scheduled input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Tunnel,
    Link,
    Host,
}

impl SimulatedRunner {
    pub(super) fn new(resources: u16, is_calm: bool, now: Instant) -> Self {
        Self {
            world: World::new(resources, now),
            is_calm,
            scenario: Scenario::Connects,
            schedule: BTreeMap::new(),
            entries: 0,
            next_change: None,
            changes: 0,
        }
    }

    /// Begins to execute an effect.
    pub(super) fn run(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Tunnel(TunnelCommand::Open(account)) => self.open_tunnel(&account, now),
            Effect::Tunnel(TunnelCommand::Close) => {
                self.remove(Source::Tunnel);
                self.add(now + TUNNEL_CLOSE_DELAY, Source::Tunnel, TunnelEvent::Closed);
            }
            Effect::Tunnel(TunnelCommand::Reset) => {
                self.world.reset();
                self.add(now + TUNNEL_OPEN_DELAY, Source::Tunnel, TunnelEvent::NewPublicKey(self.key()));
            }
            Effect::Tunnel(TunnelCommand::SetInternetResource(is_on)) => {
                self.world.use_internet(is_on);
                self.add(now, Source::Link, TunnelEvent::ResourcesChanged(self.world.resources()));
            }

            Effect::Portal(PortalCommand::Open { .. }) => self.open_link(now),
            Effect::Portal(PortalCommand::Close) => {
                self.remove(Source::Link);
                self.next_change = None;
            }
            Effect::Portal(PortalCommand::Reconnect(_)) => {
                self.remove(Source::Link);
                self.open_link(now);
            }
            Effect::Host(config) => {
                let warnings = if config.is_untouched() { Vec::new() } else { vec![warning()] };
                self.remove(Source::Host);
                self.add(now + HOST_DELAY, Source::Host, HostEvent::Applied { config, warnings });
            }
            Effect::Tunnel(TunnelCommand::Portal(_) | TunnelCommand::SetResolvers(_))
            | Effect::Portal(PortalCommand::SetResolvers(_) | PortalCommand::Send(_))
            | Effect::Reply(..)
            | Effect::Publish(_) => {}
        }
    }

    /// The paths to the gateways.
    pub(super) fn paths(&self, now: Instant) -> Vec<tunnel::PathView> {
        self.world.paths(now)
    }

    /// The time of the next input.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let entry = self.schedule.first_key_value().map(|((at, _), _)| *at);
        entry.into_iter().chain(self.next_change).min()
    }

    /// The next input that is due.
    pub(super) fn poll_input(&mut self, now: Instant) -> Option<Input> {
        if self.next_change.is_some_and(|at| at <= now) {
            self.next_change = Some(now + CHANGE_INTERVAL);
            self.change(now);
        }
        let entry = self.schedule.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (_, input) = entry.remove();
        if matches!(input, Input::Portal(PortalEvent::Joined)) && !self.is_calm {
            self.next_change.get_or_insert(now + CHANGE_INTERVAL);
        }
        Some(input)
    }

    fn open_tunnel(&mut self, account: &Account, now: Instant) {
        if let Some(input) = self.scenario.end() {
            self.add(now, Source::Host, input);
        }
        self.scenario = Scenario::of(account.token.expose());
        self.remove(Source::Tunnel);
        self.world.reset();
        let outcome = match self.scenario {
            Scenario::InterfaceBusy => TunnelEvent::OpenFailed(Reason::TunBusy),
            _ => TunnelEvent::Opened(self.key()),
        };
        self.add(now + TUNNEL_OPEN_DELAY, Source::Tunnel, outcome);
    }

    fn open_link(&mut self, now: Instant) {
        let answer = now + JOIN_DELAY;
        let failure = self.scenario.instead_of_joining();
        if !failure.is_empty() {
            for input in failure {
                self.add(answer, Source::Link, input);
            }
            return;
        }
        self.add(answer, Source::Link, PortalEvent::Joined);
        let init = now + INIT_DELAY;
        self.add(init, Source::Link, TunnelEvent::InterfaceChanged(self.world.interface()));
        self.add(init, Source::Link, TunnelEvent::ResourcesChanged(self.world.resources()));
        self.add(init, Source::Link, TunnelEvent::DevicesChanged(self.world.devices()));
        if let Some(input) = self.scenario.after_joining() {
            self.add(init + SCENARIO_DELAY, Source::Link, input);
        }
    }

    /// A spontaneous change.
    fn change(&mut self, now: Instant) {
        self.changes += 1;
        match self.changes % 60 {
            20 | 40 => {
                self.add(now, Source::Link, PortalEvent::Lost(Reason::PortalUnreachable));
                self.add(now + OUTAGE, Source::Link, PortalEvent::Joined);
            }
            50 => {
                self.add(now, Source::Link, HostEvent::NetworkLost);
                self.add(now, Source::Link, PortalEvent::Lost(Reason::PortalUnreachable));
                self.add(now + OUTAGE, Source::Host, HostEvent::NetworkChanged);
            }
            number => {
                self.world.change_path(number);
                self.add(now, Source::Link, TunnelEvent::ResourcesChanged(self.world.resources()));
            }
        }
    }

    fn add(&mut self, at: Instant, source: Source, input: impl Into<Input>) {
        self.entries += 1;
        self.schedule.insert((at, self.entries), (source, input.into()));
    }

    /// Removes the inputs of a source.
    fn remove(&mut self, source: Source) {
        self.schedule.retain(|_, (other, _)| *other != source);
    }

    /// A new key, which no peer has.
    fn key(&self) -> PublicKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.entries.to_be_bytes());
        PublicKey(key)
    }
}

/// Marks the session as simulated.
fn warning() -> Warning {
    Warning {
        code: WarningCode::Simulation,
        text: "This is a simulation: nothing is connected, and nothing on this machine changes.".to_owned(),
    }
}
