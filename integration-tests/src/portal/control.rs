//! The control API for tests: HTTP and JSON on a Unix socket.
//!
//! ```sh
//! curl --unix-socket portal.sock http://portal/state
//! curl --unix-socket portal.sock http://portal/resources/ID -X PUT --json '{"type":"dns","address":"*.corp.example",…}'
//! curl --unix-socket portal.sock http://portal/drop -X POST --json '{"role":"client"}'
//! ```

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use uuid::Uuid;

use super::{
    config::{DnsSettings, Resource},
    connection::{Connection, Outgoing},
    problem::Problem,
    state::Shared,
};

/// Serves the control interface for ever.
pub async fn serve(socket: PathBuf, portal: Shared) -> anyhow::Result<()> {
    // A socket that an earlier process left behind would be in the way.
    if socket.exists() {
        std::fs::remove_file(&socket)?;
    }
    let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;

    let levers = Router::new()
        .route("/state", get(state))
        .route("/resources/{id}", put(put_resource).delete(delete_resource))
        .route("/revoke", post(revoke))
        .route("/drop", post(drop_sockets))
        .route("/push", post(push))
        .route("/tokens/forget", post(forget_token))
        .route("/tokens/expire", post(expire_token))
        .route("/refuse", post(refuse))
        .route("/deaf", post(deaf))
        .route("/dns", put(dns))
        .route("/relays/{id}", put(relay))
        .route("/devices/{id}", put(device))
        .route("/authorization-seconds", put(authorization_seconds))
        .with_state(portal);
    axum::serve(listener, levers).await?;
    Ok(())
}

async fn state(State(portal): State<Shared>) -> Json<Value> {
    let portal = portal.lock();
    let show = |id: &Uuid, it: &Connection| {
        json!({"id": id, "name": it.name, "public_key": it.public_key, "joined": it.joined,
               "component": it.agent.component, "version": it.agent.version.to_string(), "iceless": it.iceless})
    };
    Json(json!({
        "clients": portal.clients.iter().map(|(id, it)| show(id, it)).collect::<Vec<_>>(),
        "gateways": portal.gateways.iter().map(|(id, it)| show(id, it)).collect::<Vec<_>>(),
        "resources": portal.directory.resources,
        "authorizations": portal.directory.authorizations,
        "device_grants": portal.directory.device_grants,
        "devices": portal.directory.devices.iter().map(|(id, it)| json!({"id": id, "name": it.name, "ipv4": it.ipv4, "ipv6": it.ipv6})).collect::<Vec<_>>(),
        "relays": portal.directory.relays.iter().map(|it| json!({"id": it.id, "online": it.online})).collect::<Vec<_>>(),
        "dns": portal.directory.dns,
    }))
}

async fn put_resource(
    State(portal): State<Shared>,
    Path(id): Path<Uuid>,
    Json(resource): Json<Resource>,
) -> StatusCode {
    portal.lock().put_resource(id, resource);
    StatusCode::NO_CONTENT
}

async fn delete_resource(State(portal): State<Shared>, Path(id): Path<Uuid>) -> StatusCode {
    found(portal.lock().delete_resource(id))
}

/// Takes a grant back behind the client's back.
#[derive(Deserialize)]
struct Revocation {
    resource: Uuid,
    #[serde(default)]
    client: Option<Uuid>,
}

async fn revoke(State(portal): State<Shared>, Json(it): Json<Revocation>) -> StatusCode {
    portal.lock().revoke(it.client, it.resource);
    StatusCode::NO_CONTENT
}

/// Whose sockets are meant; all if nothing is said.
#[derive(Deserialize)]
struct Whose {
    #[serde(default)]
    role: Option<String>,
    /// A WebSocket close code; without it the connection is cut.
    #[serde(default)]
    code: Option<u16>,
}

async fn drop_sockets(State(portal): State<Shared>, Json(whose): Json<Whose>) -> StatusCode {
    let portal = portal.lock();
    let how = whose.code.map_or(Outgoing::Cut, Outgoing::Close);
    for (role, sockets) in [("client", &portal.clients), ("gateway", &portal.gateways)] {
        if whose.role.as_deref().is_none_or(|it| it == role) {
            sockets.values().for_each(|it| it.outbox.end(how.clone()));
        }
    }
    StatusCode::NO_CONTENT
}

/// Anything at all, to all clients: events that do not exist yet, or text that is no frame.
#[derive(Deserialize)]
struct Push {
    #[serde(default)]
    event: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    raw: Option<String>,
}

async fn push(State(portal): State<Shared>, Json(push): Json<Push>) -> StatusCode {
    for client in portal.lock().clients.values().filter(|it| it.joined) {
        match &push.raw {
            Some(raw) => client.outbox.text(raw.clone()),
            None => client.outbox.push(&push.event, &push.payload),
        }
    }
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

async fn forget_token(State(portal): State<Shared>, Json(it): Json<Token>) -> StatusCode {
    portal.lock().forget_token(&it.token);
    StatusCode::NO_CONTENT
}

async fn expire_token(State(portal): State<Shared>, Json(it): Json<Token>) -> StatusCode {
    portal.lock().expire(&it.token);
    StatusCode::NO_CONTENT
}

/// Upgrades to refuse, however good they are.
#[derive(Deserialize)]
struct Refusals {
    #[serde(flatten)]
    problem: Problem,
    #[serde(default = "once")]
    times: usize,
}

async fn refuse(State(portal): State<Shared>, Json(it): Json<Refusals>) -> StatusCode {
    let mut portal = portal.lock();
    portal.refusals.clear();
    portal.refusals.extend(std::iter::repeat_n(it.problem, it.times));
    StatusCode::NO_CONTENT
}

async fn deaf(State(portal): State<Shared>, Json(deaf): Json<bool>) -> StatusCode {
    portal.lock().deaf = deaf;
    StatusCode::NO_CONTENT
}

async fn dns(State(portal): State<Shared>, Json(settings): Json<DnsSettings>) -> StatusCode {
    let mut portal = portal.lock();
    portal.directory.dns = settings;
    portal.dns_changed();
    StatusCode::NO_CONTENT
}

async fn relay(State(portal): State<Shared>, Path(id): Path<Uuid>, Json(online): Json<bool>) -> StatusCode {
    found(portal.lock().relay_changed(id, online))
}

/// Other addresses in the tunnel.
#[derive(Deserialize)]
struct Addresses {
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
}

async fn device(State(portal): State<Shared>, Path(id): Path<Uuid>, Json(it): Json<Addresses>) -> StatusCode {
    found(portal.lock().move_device(id, (it.ipv4, it.ipv6)))
}

async fn authorization_seconds(State(portal): State<Shared>, Json(seconds): Json<u64>) -> StatusCode {
    portal.lock().directory.authorization_seconds = seconds;
    StatusCode::NO_CONTENT
}

fn found(it: bool) -> StatusCode {
    if it { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn once() -> usize {
    1
}
