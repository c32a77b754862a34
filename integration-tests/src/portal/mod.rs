//! A development portal: the control plane of a Firezone account, small, and with faults on demand.
//!
//! It speaks both sides of the portal protocol (clients and gateways) over plain WebSockets and is steered over HTTP on a
//! Unix socket. It follows the protocol and adds nothing that only our own client would understand.
//!
//! * [`config`] – the account; also the state that survives a restart
//! * [`derive`](mod@derive) – IDs, keys and credentials
//! * [`upgrade`] and [`problem`] – checks of upgrade requests, and their errors
//! * [`channel`] – one socket: framing, joining, heartbeats
//! * [`connection`] – open connections and pending requests; [`state`] – the effect of each message
//! * `authorize`, `devices`, `relays` – access to gateways and other clients; relays
//! * [`view`] – the JSON that clients and gateways are shown
//! * [`pages`] – the sign-in pages
//! * [`control`] – the control API for tests

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
