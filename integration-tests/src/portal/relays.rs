//! Relays come and go.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    connection::{Connection, RelayConnection, SocketId},
    derive,
    problem::Problem,
    state::{Portal, Shared},
    upgrade::{Hello, Role},
    view,
};

/// Relays offered at once.
const MAX_RELAYS: usize = 2;

/// News about relays are collected for so long: a relay that comes back meanwhile is no news.
const RELAY_BATCH_DELAY: Duration = Duration::from_secs(1);

impl Shared {
    /// A relay has said what its credentials are made of.
    pub(super) fn relay_joined(&self, socket: SocketId, payload: &Value) {
        let Some(secret) = payload["stamp_secret"].as_str().filter(|secret| !secret.is_empty()) else { return };
        if self.lock().insert_relay(socket, secret) {
            self.schedule_relay_announcement();
        }
    }

    /// Announces relay changes after [`RELAY_BATCH_DELAY`], in one message.
    pub(super) fn schedule_relay_announcement(&self) {
        if std::mem::replace(&mut self.lock().is_announcement_scheduled, true) {
            return;
        }
        let portal = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RELAY_BATCH_DELAY).await;
            portal.lock().announce_relays();
        });
    }
}

impl Portal {
    /// The relays that one client or gateway is offered, one entry for each address family. Credentials depend on its key
    /// and on nothing that changes from one connection to the next.
    pub(super) fn relays_for(&self, role: Role, public_key: &str) -> Vec<Value> {
        let fixed = self.directory.relays.iter().filter(|relay| relay.online).map(|it| view::relay(it, role));
        let joined = self.relays.iter().filter_map(|(id, relay)| {
            let secret = relay.stamp_secret.as_deref()?;
            let (username, password) = derive::relay_login(secret, public_key, view::FAR_FUTURE);
            let entry = |address: &SocketAddr| {
                json!({"id": id, "type": "turn", "addr": address.to_string(), "username": username,
                       "password": password, "expires_at": view::FAR_FUTURE})
            };
            Some(relay.addresses.iter().flatten().map(entry).collect())
        });
        fixed.chain(joined).take(MAX_RELAYS).flatten().collect()
    }

    /// A relay may connect. What it is called is known only once it has joined.
    pub(super) fn relay_of(&self, hello: &Hello) -> Result<Uuid, Problem> {
        if self.directory.relay_tokens.contains(&hello.token) {
            Ok(derive::relay_id(&derive::random_text(16)))
        } else {
            Err(Problem::invalid_token())
        }
    }

    pub(super) fn relay_knocks(&mut self, id: Uuid, online: Connection) {
        let addresses = online.relay;
        self.relays.insert(id, RelayConnection { online, addresses, stamp_secret: None });
    }

    /// Puts a relay in the place of an older one with the same secret.
    pub(super) fn insert_relay(&mut self, socket: SocketId, secret: &str) -> bool {
        let Some(id) = self.relays.iter().find(|(_, it)| it.online.socket == socket).map(|(id, _)| *id) else {
            return false;
        };
        let Some(mut relay) = self.relays.remove(&id) else { return false };
        relay.stamp_secret = Some(secret.to_owned());
        relay.online.joined = true;
        relay.online.outbox.push("init", &json!({}));
        self.relays.insert(derive::relay_id(secret), relay);
        true
    }

    pub(super) fn relay_left(&mut self, socket: SocketId) {
        self.relays.retain(|_, it| it.online.socket != socket);
    }

    pub(super) fn relay_channel(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.relays.values_mut().find(|it| it.online.socket == socket).map(|it| &mut it.online)
    }

    /// Announces relay changes since the last announcement.
    pub(super) fn announce_relays(&mut self) {
        self.is_announcement_scheduled = false;
        let now: std::collections::BTreeSet<Uuid> =
            self.relays.iter().filter(|(_, it)| it.stamp_secret.is_some()).map(|(id, _)| *id).collect();
        let gone: Vec<Uuid> = self.announced_relays.difference(&now).copied().collect();
        let had_enough = self.announced_relays.len() >= MAX_RELAYS;
        let has_changed = !gone.is_empty() || (!had_enough && now != self.announced_relays);
        self.announced_relays = now;
        if !has_changed {
            return;
        }
        for (role, connections) in [(Role::Client, &self.clients), (Role::Gateway, &self.gateways)] {
            for one in connections.values().filter(|it| it.joined) {
                let connected = self.relays_for(role, &one.public_key);
                one.outbox.push("relays_presence", &json!({"disconnected_ids": gone, "connected": connected}));
            }
        }
    }
}
