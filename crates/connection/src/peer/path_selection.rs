//! Selecting the path of a connection, and leaving it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use model::message::IceRole;

use super::{Connection, State};
use crate::{
    ice::Connectivity,
    path::{Path, SendContext},
};

/// How long a connection without path waits: new candidates of the peer may be in transit through the portal.
const DISCONNECT_GRACE: Duration = Duration::from_secs(2);
/// Age of a handshake without response at which the peer is assumed to respond on a dead path: two initiations.
const ONE_WAY_HANDSHAKE_AGE: Duration = Duration::from_secs(10);
/// The peer's silence that this assumption requires.
const ONE_WAY_SILENCE: Duration = Duration::from_secs(4);

impl Connection {
    pub(super) fn handle_nomination(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        cx: &mut SendContext<'_>,
        now: Instant,
    ) {
        let path = self.path_between(local, remote, cx.relays);
        if self.path() == Some(path) {
            return;
        }
        tracing::debug!(id = ?self.id, ?path, "New path");
        self.leave_path(path, now);
        let before = std::mem::replace(&mut self.state, State::Idle { path });
        match before {
            State::Connecting { early } => {
                self.state = State::Connected { path, last_use: now };
                for message in early {
                    cx.send(path, &message, now);
                }
            }
            State::Connected { last_use, .. } => self.state = State::Connected { path, last_use },
            State::Idle { .. } => {}
        }
        self.wants_handshake = true;
    }

    /// A path answered; another one may be selected.
    pub(super) fn note_answer(&mut self, path: Path, now: Instant) {
        if self.path() == Some(path) {
            self.monitor.note_answer(now);
        } else if matches!(path, Path::Relayed { .. }) {
            self.monitor.relay_answered(now);
            if matches!(self.state, State::Connected { .. }) && self.monitor.is_only_direct_path_silent(now) {
                self.abandon_dead_path(now);
            }
        }
    }

    /// Another path was selected.
    fn leave_path(&mut self, for_path: Path, now: Instant) {
        match for_path {
            Path::Direct { local, .. } => self.monitor.restore(local),
            // The agent prefers a direct path as long as it considers one alive.
            Path::Relayed { .. } if self.monitor.is_silent(now) => self.abandon_dead_path(now),
            Path::Relayed { .. } => {}
        }
        self.monitor.restart(now);
    }

    /// Suspends the address of a silent direct path, so that both sides use another path.
    fn abandon_dead_path(&mut self, now: Instant) {
        let Some(Path::Direct { local, .. }) = self.path() else { return };
        if self.params.role == IceRole::Controlling {
            tracing::debug!(id = ?self.id, "The direct path is silent");
            self.suspend(local, now);
        }
    }

    /// A handshake has been pending for `age`, and the peer has been silent for `silence`.
    pub(super) fn handle_missing_response(
        &mut self,
        age: Duration,
        silence: Duration,
        cx: &mut SendContext<'_>,
        now: Instant,
    ) {
        // The path may be dead, and idle connections detect that too late.
        self.mark_active(now);
        let is_one_way = age >= ONE_WAY_HANDSHAKE_AGE && silence >= ONE_WAY_SILENCE && self.is_relay_path_alive(now);
        if is_one_way && self.params.role == IceRole::Controlling {
            tracing::debug!(id = ?self.id, "The peer answers checks, but not handshakes");
            self.monitor.note_failed_handshakes();
            for base in self.agent.bases() {
                self.suspend(base, now);
            }
        }
        self.check_connectivity(cx, now);
    }

    fn is_relay_path_alive(&self, now: Instant) -> bool {
        match self.path() {
            Some(Path::Relayed { .. }) => self.monitor.answered_recently(now),
            Some(Path::Direct { .. }) => self.monitor.relay_answered_recently(now),
            None => false,
        }
    }

    fn suspend(&mut self, base: SocketAddr, now: Instant) {
        let withdrawal = self.monitor.suspend(base, &mut self.agent, now);
        self.announce.retain(|announced| !withdrawal.withdrawn.contains(announced));
        self.announce.extend(withdrawal.unannounced);
        self.withdraw.extend(withdrawal.withdrawn);
    }

    pub(super) fn handle_connectivity(&mut self, connectivity: Connectivity, now: Instant) {
        tracing::debug!(id = ?self.id, ?connectivity, "Connectivity");
        self.connectivity = connectivity;
        self.recovery_deadline = match connectivity {
            Connectivity::Checking | Connectivity::Connected => None,
            Connectivity::Disconnected => self.recovery_deadline.or(Some(now + DISCONNECT_GRACE)),
        };
    }
}
