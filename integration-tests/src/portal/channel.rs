//! One socket: upgrade, Phoenix framing, joining, heartbeats.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedReceiver,
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    connection::{ConnectionId, Outbox, Outgoing},
    devices,
    state::Shared,
    upgrade::{self, Role},
};

/// A socket on which nothing arrives for so long is closed.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(37);

/// Takes connections for ever.
pub async fn accept(listener: TcpListener, portal: Shared) -> anyhow::Result<()> {
    loop {
        let (stream, from) = listener.accept().await?;
        tokio::spawn(serve(stream, from, portal.clone()));
    }
}

async fn serve(stream: TcpStream, from: SocketAddr, portal: Shared) {
    let mut admitted = None;
    let callback = admission(from, &portal, &mut admitted);
    let handshake = tokio_tungstenite::accept_hdr_async(stream, callback).await;

    let Some((who, inbox)) = admitted else {
        if let Err(error) = handshake {
            tracing::debug!(%from, %error, "not upgraded");
        }
        return;
    };
    if let Ok(socket) = handshake {
        tracing::info!(role = ?who.role, id = %who.id, %from, "connected");
        Channel { who, portal: portal.clone(), joined: false }.run(socket, inbox).await;
    }
    portal.lock().left(who);
    if who.role == Role::Relay {
        portal.schedule_relay_announcement();
    }
    tracing::info!(role = ?who.role, id = %who.id, "disconnected");
}

/// Checks the request while the handshake is in progress, because that is when it can still be refused properly.
#[allow(clippy::result_large_err, reason = "the signature is that of the WebSocket library")]
fn admission<'a>(
    from: SocketAddr,
    portal: &'a Shared,
    admitted: &'a mut Option<(ConnectionId, UnboundedReceiver<Outgoing>)>,
) -> impl FnOnce(&Request, Response) -> Result<Response, ErrorResponse> + 'a {
    move |request, response| {
        let outcome = upgrade::read(request).and_then(|hello| {
            let (outbox, inbox) = Outbox::new(hello.role);
            let who = portal.lock().admit(hello, from.ip(), outbox)?;
            Ok((who, inbox))
        });
        match outcome {
            Ok(pair) => {
                *admitted = Some(pair);
                Ok(response)
            }
            Err(problem) => {
                tracing::info!(%from, status = problem.status, code = problem.code.as_deref(), "refused");
                Err(problem.into_response())
            }
        }
    }
}

struct Channel {
    who: ConnectionId,
    portal: Shared,
    joined: bool,
}

/// A frame in the object form of the Phoenix protocol, version 1.0.0.
struct Frame {
    topic: String,
    event: String,
    payload: Value,
    reference: Value,
}

impl Channel {
    async fn run(mut self, mut socket: WebSocketStream<TcpStream>, mut inbox: UnboundedReceiver<Outgoing>) {
        let mut deadline = Instant::now() + HEARTBEAT_TIMEOUT;
        loop {
            tokio::select! {
                outgoing = inbox.recv() => match outgoing {
                    Some(Outgoing::Text(text)) => {
                        if socket.send(Message::text(text)).await.is_err() {
                            return;
                        }
                    }
                    Some(Outgoing::Close(code)) => {
                        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                        if socket.close(Some(frame)).await.is_err() {
                            return;
                        }
                    }
                    Some(Outgoing::Cut) | None => return,
                },
                incoming = socket.next() => match incoming {
                    Some(Ok(message)) => {
                        deadline = Instant::now() + HEARTBEAT_TIMEOUT;
                        if let Message::Text(text) = message && self.handle(text.as_str()).is_err() {
                            tracing::warn!(id = %self.who.id, "a frame that no portal survives");
                            return;
                        }
                    }
                    Some(Err(_)) | None => return,
                },
                () = tokio::time::sleep_until(deadline) => {
                    tracing::info!(id = %self.who.id, "silent for too long");
                    return;
                }
            }
        }
    }

    /// An error means that the socket's process would have crashed.
    fn handle(&mut self, text: &str) -> Result<(), ()> {
        tracing::debug!(target: "portal::frames", received = %text, id = %self.who.id);
        let frame = Frame::parse(text).ok_or(())?;
        let Some(outbox) = self.outbox() else { return Ok(()) };
        let topic = self.who.role.topic();

        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") => {
                if !self.portal.lock().deaf {
                    outbox.reply("phoenix", &frame.reference, "ok", &json!({}));
                }
            }
            (its, "phx_join") if its == topic => {
                self.joined = true;
                outbox.reply(topic, &frame.reference, "ok", &json!({}));
                match self.who.role {
                    Role::Client | Role::Gateway => self.portal.lock().joined(self.who),
                    Role::Relay => self.portal.relay_joined(self.who.socket, &frame.payload),
                }
            }
            (its, event) if its == topic && self.joined => self.channel_message(&outbox, &frame, event),
            (other, _) => outbox.reply(other, &frame.reference, "error", &json!({"reason": "unmatched topic"})),
        }
        Ok(())
    }

    fn channel_message(&self, outbox: &Outbox, frame: &Frame, event: &str) {
        let payload = &frame.payload;
        match (self.who.role, event) {
            (_, "set_snownet_capabilities") => {
                if let Some(online) = self.portal.lock().online_mut(self.who) {
                    online.iceless = payload["iceless"] == true;
                }
            }
            (role @ (Role::Client | Role::Gateway), "no_relays") => {
                let mut portal = self.portal.lock();
                let Some(key) = portal.online_mut(self.who).map(|it| it.public_key.clone()) else { return };
                let connected = portal.relays_for(role, &key);
                outbox.push("relays_presence", &json!({"disconnected_ids": [], "connected": connected}));
            }
            (Role::Client, "request_authorization") if devices::is_asked_for(payload) => {
                self.portal.lock().request_device(self.who, payload);
            }
            (Role::Client, "resolve_device_pool_domain") => self.portal.lock().resolve_device(self.who, payload),
            (Role::Client, "new_client_ice_candidates") => {
                self.portal.lock().forward_to_client(self.who, "client_ice_candidates", payload);
            }
            (Role::Client, "invalidate_client_ice_candidates") => {
                self.portal.lock().forward_to_client(self.who, "invalidate_client_ice_candidates", payload);
            }
            (Role::Client, "request_authorization") => self.portal.request_authorization(self.who, payload),
            (Role::Client, "new_gateway_ice_candidates") | (Role::Gateway, "broadcast_ice_candidates") => {
                self.portal.lock().forward_candidates(self.who, "ice_candidates", payload);
            }
            (Role::Client, "invalidate_gateway_ice_candidates")
            | (Role::Gateway, "broadcast_invalidated_ice_candidates") => {
                self.portal.lock().forward_candidates(self.who, "invalidate_ice_candidates", payload);
            }
            (Role::Gateway, "authorization_created") => {
                // The gateway has its reply before the client can react.
                let reference = payload["ref"].as_str().unwrap_or_default();
                let mut portal = self.portal.lock();
                match portal.acknowledged(self.who, reference) {
                    Ok(()) => outbox.reply(&frame.topic, &frame.reference, "ok", &json!({})),
                    Err(reason) => outbox.reply(&frame.topic, &frame.reference, "error", &json!({"reason": reason})),
                }
            }
            _ => outbox.reply(&frame.topic, &frame.reference, "error", &json!({"reason": "unknown_message"})),
        }
    }

    fn outbox(&self) -> Option<Outbox> {
        self.portal.lock().online_mut(self.who).map(|it| it.outbox.clone())
    }
}

impl Frame {
    /// All four members have to be there.
    fn parse(text: &str) -> Option<Self> {
        let Value::Object(mut object) = serde_json::from_str(text).ok()? else { return None };
        Some(Self {
            topic: object.get("topic")?.as_str()?.to_owned(),
            event: object.get("event")?.as_str()?.to_owned(),
            payload: object.remove("payload")?,
            reference: object.remove("ref")?,
        })
    }
}
