//! What outlives a state.

use std::{collections::VecDeque, time::Instant};

use model::Resolver;

use crate::{Effect, Mode, Reason};

/// Facts about the host and the process, and the queue of effects.
#[derive(Debug)]
pub(super) struct Context {
    /// The time of the current input.
    pub(super) now: Instant,
    pub(super) mode: Mode,
    /// Whether the Internet resource is switched on. Outlives sessions.
    pub(super) internet_resource: bool,
    /// The host's own resolvers.
    pub(super) resolvers: Vec<Resolver>,
    /// Whether the machine has an uplink.
    pub(super) is_online: bool,
    /// Whether the network requires a sign-in with a browser first.
    pub(super) is_captive: bool,
    /// Whether the machine sleeps.
    pub(super) is_asleep: bool,
    /// The user who asked for the session, or for its end. None if the portal ended it.
    pub(super) asked_by: Option<u32>,
    /// Effects in their order. Bounded, because the daemon empties the queue after each input.
    pub(super) effects: VecDeque<Effect>,
}

impl Context {
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// The known reason why the machine cannot reach the Internet, if there is one.
    pub(super) fn network_problem(&self) -> Option<Reason> {
        match self {
            Self { is_asleep: true, .. } => Some(Reason::Suspended),
            Self { is_online: false, .. } => Some(Reason::NoNetwork),
            Self { is_captive: true, .. } => Some(Reason::CaptivePortal),
            _ => None,
        }
    }
}
