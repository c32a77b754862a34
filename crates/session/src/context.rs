//! What all states share.

use std::{collections::VecDeque, time::Instant};

use model::Resolver;

use super::{Effect, Mode, Reason};

/// The surroundings of the state: what outlives a session, and the way out for effects.
#[derive(Debug)]
pub(super) struct Context {
    /// When the current input happened.
    pub(super) now: Instant,
    pub(super) mode: Mode,
    /// Whether the Internet resource is switched on. Outlives sessions.
    pub(super) internet_resource: bool,
    /// The host's own resolvers, as heard last.
    pub(super) resolvers: Vec<Resolver>,
    /// Whether this machine has a way to the outside, as heard last.
    pub(super) online: bool,
    /// Whether this machine's network wants somebody to sign in first.
    pub(super) captive: bool,
    /// Whether this machine sleeps.
    pub(super) asleep: bool,
    /// Which user asked for the session, or for its end. Nobody did if the portal ended it.
    pub(super) asked_by: Option<u32>,
    /// What is to be done, in this order. Bounded: the daemon empties it after each input.
    pub(super) effects: VecDeque<Effect>,
}

impl Context {
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// What stands between this machine and the internet, if anything that we know of.
    pub(super) fn obstacle(&self) -> Option<Reason> {
        match self {
            Self { asleep: true, .. } => Some(Reason::Suspended),
            Self { online: false, .. } => Some(Reason::NoNetwork),
            Self { captive: true, .. } => Some(Reason::CaptivePortal),
            _ => None,
        }
    }

    /// Remembers the resolvers; says whether they are different ones.
    pub(super) fn learn_resolvers(&mut self, resolvers: Vec<Resolver>) -> bool {
        let news = self.resolvers != resolvers;
        self.resolvers = resolvers;
        news
    }
}
