//! A development portal: the control plane of a Firezone account, small enough to read and to break on purpose.
//!
//! It speaks both sides of the portal protocol (clients and gateways) over plain WebSockets and is steered over HTTP on a
//! Unix socket. It is a test stand: it does what the protocol says and nothing that only our own client would understand.
//!
//! * [`config`] – what the account consists of; also what survives a restart
//! * [`derive`](mod@derive) – ids, keys and credentials
//! * [`upgrade`] and [`problem`] – who may open a socket, and how the others are turned away
//! * [`channel`] – one socket: framing, joining, heartbeats
//! * [`connection`] – open connections and pending requests; [`state`] – the effect of each message
//! * `authorize`, `devices`, `relays` – gateways, other clients and relays, as they are asked for and come and go
//! * [`view`] – the JSON that clients and gateways are shown
//! * [`pages`] – where people sign in with a browser
//! * [`control`] – the levers for tests

pub mod channel;
pub mod config;
pub mod connection;
pub mod control;
pub mod derive;
pub mod pages;
pub mod problem;
pub mod state;
pub mod upgrade;
pub mod view;

mod authorize;
mod devices;
mod relays;
#[cfg(test)]
mod tests;

use anyhow::Context as _;
use tokio::net::TcpListener;

use self::{config::Config, state::Shared};

/// Serves until the process ends.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let portal = Shared::open(config.directory, config.state)?;

    let mut tasks = tokio::task::JoinSet::new();
    for address in config.listen {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        tracing::info!(%address, "listening");
        tasks.spawn(channel::accept(listener, portal.clone()));
    }
    let pages = pages::pages(portal.clone());
    for address in config.pages {
        tasks.spawn(pages::serve(address, pages.clone()));
    }
    tasks.spawn(control::serve(config.control, portal));

    match tasks.join_next().await {
        Some(outcome) => outcome?,
        None => Ok(()),
    }
}
