//! Which path a connection takes, and when it leaves it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::message::IceRole;

use super::{Connection, State};
use crate::{
    ice::Health,
    way::{Post, Way},
};

/// New candidates of the peer may still be on their way through the portal when the last path has died.
const DISCONNECT_GRACE: Duration = Duration::from_secs(2);
/// A peer that answers checks, but two initiations in a row not, sends its answers where nothing arrives.
const ONE_WAY_AFTER: Duration = Duration::from_secs(10);
/// Unless something else came from it within this time.
const ONE_WAY_SILENCE: Duration = Duration::from_secs(4);

impl Connection {
    pub(super) fn handle_nomination(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        post: &mut Post<'_>,
        now: Instant,
    ) {
        let way = self.way_between(local, remote, post.relays);
        if self.way() == Some(way) {
            return;
        }
        tracing::debug!(number = ?self.number, ?way, "New path");
        self.leave(way, now);
        let before = std::mem::replace(&mut self.state, State::Idle { way });
        match before {
            State::Connecting { early } => {
                self.state = State::Connected { way, last_use: now };
                for message in early {
                    post.send(way, &message, now);
                }
            }
            State::Connected { last_use, .. } => self.state = State::Connected { way, last_use },
            State::Idle { .. } => {}
        }
        self.wants_handshake = true;
    }

    /// A path answered, perhaps not the present one.
    pub(super) fn heard(&mut self, way: Way, now: Instant) {
        if self.way() == Some(way) {
            self.doubt.heard(now);
        } else if matches!(way, Way::Relayed { .. }) {
            self.doubt.heard_by_relay(now);
            if matches!(self.state, State::Connected { .. }) && self.doubt.is_justified(now) {
                self.leave_dead_path(now);
            }
        }
    }

    /// The present path is given up for another.
    fn leave(&mut self, for_way: Way, now: Instant) {
        match for_way {
            Way::Direct { local, .. } => self.doubt.trust(local),
            // The agent prefers a direct path for as long as it believes in one.
            Way::Relayed { .. } if self.doubt.is_silent(now) => self.leave_dead_path(now),
            Way::Relayed { .. } => {}
        }
        self.doubt.begin(now);
    }

    /// Takes back the address behind a direct path of which nothing is heard, so that both sides use another.
    fn leave_dead_path(&mut self, now: Instant) {
        let Some(Way::Direct { local, .. }) = self.way() else { return };
        if self.params.role == IceRole::Controlling {
            tracing::debug!(number = ?self.number, "The direct path is silent");
            self.withhold(local, now);
        }
    }

    /// A handshake has been going on for `age`, and for `silence` of it the peer has not said anything.
    pub(super) fn miss_answer(&mut self, age: Duration, silence: Duration, post: &mut Post<'_>, now: Instant) {
        // Perhaps it is the path that is dead; while idle nobody would find that out in time.
        self.wake(now);
        let is_one_way = age >= ONE_WAY_AFTER && silence >= ONE_WAY_SILENCE && self.is_checked_by_relay(now);
        if is_one_way && self.params.role == IceRole::Controlling {
            tracing::debug!(number = ?self.number, "The peer answers checks, but no handshake");
            self.doubt.despair_of_direct_paths();
            for base in self.agent.bases() {
                self.withhold(base, now);
            }
        }
        self.check_connectivity(post, now);
    }

    fn is_checked_by_relay(&self, now: Instant) -> bool {
        match self.way() {
            Some(Way::Relayed { .. }) => self.doubt.is_answered(now),
            Some(Way::Direct { .. }) => self.doubt.is_answered_by_relay(now),
            None => false,
        }
    }

    fn withhold(&mut self, base: SocketAddr, now: Instant) {
        let withdrawal = self.doubt.withhold(base, &mut self.agent, now);
        self.announce.retain(|announced| !withdrawal.gone.contains(announced));
        self.announce.extend(withdrawal.unsaid);
        self.withdraw.extend(withdrawal.gone);
    }

    pub(super) fn handle_health(&mut self, health: Health, now: Instant) {
        tracing::debug!(number = ?self.number, ?health, "Connectivity");
        self.health = health;
        self.recovery_due = match health {
            Health::Checking | Health::Connected => None,
            Health::Disconnected => self.recovery_due.or(Some(now + DISCONNECT_GRACE)),
        };
    }
}
