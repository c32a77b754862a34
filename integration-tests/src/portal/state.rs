//! The account and its connections, and the effect of each message.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    config::{Device, Directory, Resource},
    connection::{Connection, ConnectionId, Outbox, PendingAuthorization, RelayConnection, SocketId},
    derive,
    problem::Problem,
    upgrade::{Hello, Role},
    view,
};

/// Two attempts from the same place with the same token have to be this far apart.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// Shared access to the portal.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Portal>>);

/// Everything that the portal knows.
#[derive(Debug)]
pub struct Portal {
    /// What would be in a database.
    pub directory: Directory,
    pub(super) clients: BTreeMap<Uuid, Connection>,
    pub(super) gateways: BTreeMap<Uuid, Connection>,
    pub(super) pending: BTreeMap<(Uuid, Uuid), PendingAuthorization>,
    /// Relays that have joined.
    pub(super) relays: BTreeMap<Uuid, RelayConnection>,
    /// The relays of the last announcement.
    pub(super) announced_relays: BTreeSet<Uuid>,
    /// Whether an announcement of relay changes is scheduled.
    pub(super) is_announcement_scheduled: bool,
    /// Upgrades that are refused although nothing is wrong with them.
    pub(super) refusals: VecDeque<Problem>,
    /// Whether heartbeats go unanswered.
    pub(super) deaf: bool,
    attempts: BTreeMap<(IpAddr, String), Instant>,
    sockets: u64,
    file: Option<PathBuf>,
}

impl Shared {
    /// Starts with what `file` kept, else with `directory`.
    pub fn open(directory: Directory, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let directory = match file.as_deref().map(std::fs::read) {
            Some(Ok(kept)) => serde_json::from_slice(&kept).context("the kept state is damaged")?,
            Some(Err(_)) | None => directory,
        };

        Ok(Self(Arc::new(Mutex::new(Portal {
            directory,
            clients: BTreeMap::new(),
            gateways: BTreeMap::new(),
            pending: BTreeMap::new(),
            relays: BTreeMap::new(),
            announced_relays: BTreeSet::new(),
            is_announcement_scheduled: false,
            refusals: VecDeque::new(),
            deaf: false,
            attempts: BTreeMap::new(),
            sockets: 0,
            file,
        }))))
    }

    /// Access to the one portal.
    pub fn lock(&self) -> MutexGuard<'_, Portal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Portal {
    /// Decides about a well-formed request for an upgrade.
    pub fn admit(&mut self, hello: Hello, from: IpAddr, outbox: Outbox) -> Result<ConnectionId, Problem> {
        if let Some(problem) = self.refusals.pop_front() {
            return Err(problem);
        }
        self.limit_rate(&hello.token, from)?;

        let (id, site) = match hello.role {
            Role::Client => (self.client_of(&hello)?, None),
            Role::Gateway => {
                let (id, site) = self.gateway_of(&hello)?;
                (id, Some(site))
            }
            Role::Relay => (self.relay_of(&hello)?, None),
        };
        if hello.role == Role::Gateway && self.gateways.contains_key(&id) {
            return Err(Problem::new(409, "gateway_already_connected", "This gateway is already connected"));
        }

        self.sockets += 1;
        let socket = SocketId(self.sockets);
        let online = Connection {
            socket,
            token: hello.token,
            name: hello.name,
            public_key: hello.public_key,
            agent: hello.agent,
            iceless: false,
            joined: false,
            site,
            relay: hello.relay,
            outbox,
        };
        if hello.role != Role::Relay {
            let name = online.name.clone();
            self.device(id);
            if let Some(device) = self.directory.devices.get_mut(&id).filter(|device| device.name.is_empty()) {
                device.name = name;
            }
        }
        match hello.role {
            Role::Client => self.evict_and_insert(id, online),
            Role::Gateway => {
                self.gateways.insert(id, online);
            }
            Role::Relay => self.relay_knocks(id, online),
        }
        Ok(ConnectionId { role: hello.role, id, socket })
    }

    /// The channel of a client or gateway has been joined.
    pub fn joined(&mut self, who: ConnectionId) {
        let Some(online) = self.online_mut(who) else { return };
        online.joined = true;
        self.send_init(who.role, who.id);
    }

    /// The whole truth, after a join and when the addresses changed.
    pub(super) fn send_init(&mut self, role: Role, id: Uuid) {
        let device = self.device(id);
        let connections = if role == Role::Gateway { &self.gateways } else { &self.clients };
        let Some(online) = connections.get(&id).filter(|it| it.joined) else { return };
        let relays = self.relays_for(role, &online.public_key);
        let init = match role {
            Role::Gateway => view::gateway_init(&self.directory, id, &device, &relays),
            Role::Client | Role::Relay => view::client_init(&self.directory, id, &device, &online.agent, &relays),
        };
        online.outbox.push("init", &init);
    }

    /// A client or gateway has other addresses in the tunnel from now on.
    pub fn move_device(&mut self, id: Uuid, addresses: (Ipv4Addr, Ipv6Addr)) -> bool {
        let Some(device) = self.directory.devices.get_mut(&id) else { return false };
        (device.ipv4, device.ipv6) = addresses;
        self.save();
        self.send_init(Role::Client, id);
        self.send_init(Role::Gateway, id);
        self.pool_member_moved(id);
        true
    }

    /// The socket is gone.
    pub fn left(&mut self, who: ConnectionId) {
        let online = match who.role {
            Role::Client => &mut self.clients,
            Role::Gateway => &mut self.gateways,
            Role::Relay => return self.relay_left(who.socket),
        };
        if online.get(&who.id).is_some_and(|it| it.socket == who.socket) {
            online.remove(&who.id);
        }
    }

    /// Adds or replaces a resource and notifies all connections.
    pub fn put_resource(&mut self, id: Uuid, resource: Resource) {
        let before = self.directory.resources.insert(id, resource.clone());
        if before.as_ref() == Some(&resource) {
            return;
        }

        match &before {
            Some(before) if before.is_pool() => self.pool_changed(id, before, Some(&resource)),
            Some(before) if !before.is_at_the_same_place_as(&resource) => self.revoke(None, id),
            Some(_) => {
                let shown = view::gateway_resource(id, &resource);
                for gateway in self.gateways.values().filter(|it| it.joined) {
                    gateway.outbox.push("resource_updated", &shown);
                }
            }
            None => {}
        }
        let moves = before.is_some_and(|before| before.site != resource.site);
        for client in self.clients.values().filter(|it| it.joined) {
            if moves && !client.agent.moves_resources() {
                client.outbox.push("resource_deleted", &json!(id));
            }
            if let Some(shown) = view::client_resource(&self.directory, id, &resource, &client.agent) {
                client.outbox.push("resource_created_or_updated", &shown);
            }
        }
        self.save();
    }

    /// Removes a resource and notifies all connections.
    pub fn delete_resource(&mut self, id: Uuid) -> bool {
        let Some(gone) = self.directory.resources.remove(&id) else { return false };
        if gone.is_pool() {
            self.pool_changed(id, &gone, None);
        }
        self.revoke(None, id);
        for client in self.clients.values().filter(|it| it.joined) {
            client.outbox.push("resource_deleted", &json!(id));
        }
        self.save();
        true
    }

    /// Revokes grants of one client or of all. Only gateways and target devices are notified.
    pub fn revoke(&mut self, client: Option<Uuid>, resource: Uuid) {
        self.revoke_devices(|grant| grant.pool == resource && client.is_none_or(|client| client == grant.initiator));
        let (revoked, kept) = std::mem::take(&mut self.directory.authorizations)
            .into_iter()
            .partition(|it| it.resource == resource && client.is_none_or(|client| client == it.client));
        self.directory.authorizations = kept;

        for grant in revoked {
            if let Some(gateway) = self.gateways.get(&grant.gateway).filter(|it| it.joined) {
                let payload = json!({"client_id": grant.client, "resource_id": grant.resource});
                gateway.outbox.push("reject_access", &payload);
            }
        }
        self.save();
    }

    /// Sends candidates on, if the other end is there.
    pub(super) fn forward_candidates(&self, who: ConnectionId, event: &str, payload: &Value) {
        let candidates = &payload["candidates"];
        let (members, field) = match who.role {
            Role::Client => (vec![&payload["gateway_id"]], "client_id"),
            Role::Gateway => {
                (payload["client_ids"].as_array().map(|it| it.iter().collect()).unwrap_or_default(), "gateway_id")
            }
            Role::Relay => return,
        };
        let others = match who.role {
            Role::Client => &self.gateways,
            Role::Gateway | Role::Relay => &self.clients,
        };
        for member in members {
            let other = member.as_str().and_then(|id| id.parse::<Uuid>().ok()).and_then(|id| others.get(&id));
            if let Some(other) = other.filter(|it| it.joined) {
                other.outbox.push(event, &json!({field: who.id, "candidates": candidates}));
            }
        }
    }

    /// Notifies all clients of changed DNS settings.
    pub fn dns_changed(&mut self) {
        for (id, client) in self.clients.iter().filter(|(_, it)| it.joined) {
            if let Some(device) = self.directory.devices.get(id) {
                client.outbox.push("config_changed", &json!({"interface": view::interface(&self.directory, device)}));
            }
        }
        self.save();
    }

    /// Notifies all connections that a relay came or went.
    pub fn relay_changed(&mut self, id: Uuid, online: bool) -> bool {
        let Some(relay) = self.directory.relays.iter_mut().find(|it| it.id == id) else { return false };
        relay.online = online;

        let gone = if online { vec![] } else { vec![id] };
        for (role, connections) in [(Role::Client, &self.clients), (Role::Gateway, &self.gateways)] {
            for one in connections.values().filter(|it| it.joined) {
                let connected = self.relays_for(role, &one.public_key);
                one.outbox.push("relays_presence", &json!({"disconnected_ids": gone, "connected": connected}));
            }
        }
        self.save();
        true
    }

    /// Ends sessions of `token` as a portal does whose database lost it: the channel is closed, the socket is not.
    pub fn expire(&mut self, token: &str) {
        self.forget_token(token);
        for one in self.clients.values().chain(self.gateways.values()).filter(|it| it.token == token) {
            one.outbox.push("disconnect", &json!({"reason": "token_expired"}));
            one.outbox.push("phx_close", &json!({}));
        }
    }

    /// From now on `token` is not accepted. Sockets that are open stay open.
    pub fn forget_token(&mut self, token: &str) {
        self.directory.client_tokens.retain(|it| it.token != token);
        self.directory.gateway_tokens.retain(|it| it.token != token);
        self.save();
    }

    /// The row of a device, made when it is needed.
    pub(super) fn device(&mut self, id: Uuid) -> Device {
        if let Some(device) = self.directory.devices.get(&id) {
            return device.clone();
        }
        let taken: Vec<_> = self.directory.devices.values().map(|it| it.ipv4).collect();
        let (ipv4, ipv6) = (0..)
            .map(derive::tunnel_addresses)
            .find(|(v4, _)| !taken.contains(v4))
            .unwrap_or(derive::tunnel_addresses(0));
        let device = Device { name: String::new(), ipv4, ipv6, base_secret: derive::Secret::random() };

        self.directory.devices.insert(id, device.clone());
        self.save();
        device
    }

    /// The socket of `who`, unless it has been replaced.
    pub(super) fn online_mut(&mut self, who: ConnectionId) -> Option<&mut Connection> {
        let online = match who.role {
            Role::Client => self.clients.get_mut(&who.id),
            Role::Gateway => self.gateways.get_mut(&who.id),
            Role::Relay => return self.relay_channel(who.socket),
        };
        online.filter(|it| it.socket == who.socket)
    }

    /// Keeps the directory for the next start.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let kept = serde_json::to_vec_pretty(&self.directory).map_err(std::io::Error::other);
        if let Err(error) = kept.and_then(|bytes| std::fs::write(file, bytes)) {
            tracing::error!(%error, "cannot keep the state");
        }
    }

    fn limit_rate(&mut self, token: &str, from: IpAddr) -> Result<(), Problem> {
        let now = Instant::now();
        let last = self.attempts.insert((from, token.to_owned()), now);
        match last {
            Some(last) if now < last + ATTEMPT_INTERVAL => {
                self.attempts.insert((from, token.to_owned()), last);
                Err(Problem::new(503, "rate_limit", "Too many connection attempts").retry_after(1))
            }
            _ => Ok(()),
        }
    }

    fn client_of(&self, hello: &Hello) -> Result<Uuid, Problem> {
        let token = self
            .directory
            .client_tokens
            .iter()
            .find(|it| it.token == hello.token)
            .ok_or_else(Problem::invalid_token)?;
        Ok(derive::device_id("client", &token.actor, &hello.external_id))
    }

    fn gateway_of(&self, hello: &Hello) -> Result<(Uuid, Uuid), Problem> {
        let token = self
            .directory
            .gateway_tokens
            .iter()
            .find(|it| it.token == hello.token)
            .ok_or_else(Problem::invalid_token)?;
        Ok((derive::device_id("gateway", &token.site.to_string(), &hello.external_id), token.site))
    }

    /// The newer socket of a client replaces the older one, which gets the message that makes old clients stop.
    fn evict_and_insert(&mut self, id: Uuid, online: Connection) {
        if let Some(older) = self.clients.insert(id, online) {
            older.outbox.push("disconnect", &json!({"reason": "token_expired"}));
            older.outbox.push("phx_close", &json!({}));
        }
    }
}
