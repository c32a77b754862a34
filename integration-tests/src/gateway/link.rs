//! The WebSocket to the portal.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use model::PublicKey;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, interval_at, sleep},
};
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use url::Url;

use super::message::{self, Incoming};

/// Delay between attempts; the portal refuses more than one per second.
const RECONNECT_DELAY: Duration = Duration::from_millis(1500);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The user agent. The portal refuses unknown names, and clients refuse versions that are too
/// far from theirs.
const USER_AGENT: &str = "Debian/12.0.0 gateway/1.6.1 (x86_64; dev)";

/// Identity and credentials at the portal.
#[derive(Clone, Debug)]
pub struct Login {
    /// URL of the portal; `ws` only.
    pub portal: Url,
    /// The token of the site.
    pub token: String,
    /// Device ID, different from other gateways of the site.
    pub external_id: String,
    /// Human-readable text.
    pub name: String,
}

/// A message for the portal: event and payload.
pub(super) type Outgoing = (&'static str, Value);

/// Keeps the portal connected. Messages wait while it is unreachable.
pub(super) async fn keep(
    login: Login,
    key: PublicKey,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    incoming: mpsc::Sender<Incoming>,
) {
    loop {
        match talk(&login, key, &mut outgoing, &incoming).await {
            Ok(()) => return,
            Err(error) => tracing::info!("portal: {error:#}"),
        }
        sleep(RECONNECT_DELAY).await;
    }
}

/// One connection. Returns without an error when the event loop has ended.
async fn talk(
    login: &Login,
    key: PublicKey,
    outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
    incoming: &mpsc::Sender<Incoming>,
) -> anyhow::Result<()> {
    let host = login.portal.host_str().context("the URL has no host")?;
    let port = login.portal.port_or_known_default().context("the URL has no port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(request(login, key)?, stream).await?;

    let mut reference = 0;
    let mut frame = |topic: &str, event: &str, payload: Value| {
        let text = json!({"topic": topic, "event": event, "payload": payload, "ref": reference}).to_string();
        reference += 1;
        Message::text(text)
    };
    socket.send(frame("gateway", "phx_join", Value::Null)).await?;

    let mut joined = false;
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            _ = heartbeat.tick() => socket.send(frame("phoenix", "heartbeat", json!({}))).await?,
            message = outgoing.recv(), if joined => match message {
                Some((event, payload)) => socket.send(frame("gateway", event, payload)).await?,
                None => return Ok(()),
            },
            message = socket.next() => {
                let Some(message) = message else { bail!("the connection ended") };
                let Message::Text(text) = message? else { continue };
                let push: Push = serde_json::from_str(&text)?;
                match push.event.as_str() {
                    "phx_reply" if !joined => {
                        joined = true;
                        socket.send(frame("gateway", "set_snownet_capabilities", json!({"iceless": false}))).await?;
                        tracing::info!("joined");
                    }
                    "phx_reply" => {}
                    "phx_close" => bail!("the channel was closed"),
                    "disconnect" => bail!("disconnected: {}", push.payload["reason"]),
                    event => match message::parse(event, push.payload) {
                        Ok(Some(message)) => {
                            if incoming.send(message).await.is_err() {
                                return Ok(());
                            }
                        }
                        Ok(None) => tracing::info!(event, "unknown"),
                        Err(error) => tracing::warn!(event, %error, "not understood"),
                    },
                }
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Push {
    event: String,
    payload: Value,
}

fn request(login: &Login, key: PublicKey) -> anyhow::Result<ClientRequestBuilder> {
    let mut url = login.portal.clone();
    url.set_path("/gateway/v2/websocket");
    url.query_pairs_mut()
        .clear()
        .append_pair("external_id", &login.external_id)
        .append_pair("name", &login.name)
        .append_pair("public_key", &key.to_string());

    Ok(ClientRequestBuilder::new(url.as_str().parse()?)
        .with_header("User-Agent", USER_AGENT)
        .with_header("X-Authorization", format!("Bearer {}", login.token)))
}
