//! The loop: sockets, TUN device, timers.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use rand::{RngCore as _, SeedableRng as _};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    link::{self, Login, Outgoing},
    names,
    state::{Effect, Gateway, Question},
    tun::Tun,
    udp::Sockets,
};

/// How many messages of the portal may wait.
const QUEUE_CAPACITY: usize = 64;

struct Shell {
    state: Gateway,
    sockets: Sockets,
    tun: Tun,
    to_portal: mpsc::UnboundedSender<Outgoing>,
    resolved: mpsc::UnboundedSender<(Question, Option<Vec<IpAddr>>)>,
    name_service: Option<names::Service>,
}

/// Serves clients until it is asked to end.
pub async fn run(login: Login) -> anyhow::Result<()> {
    let mut seed = [0; 32];
    rand::rngs::StdRng::from_os_rng().fill_bytes(&mut seed);
    let unix_now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let state = Gateway::new(Instant::now(), unix_now, seed);

    let (to_portal, outgoing) = mpsc::unbounded_channel();
    let (incoming, mut from_portal) = mpsc::channel(QUEUE_CAPACITY);
    let (resolved, mut answers) = mpsc::unbounded_channel();
    let mut link = tokio::spawn(link::keep(login, state.public_key(), outgoing, incoming));
    let mut shell =
        Shell { state, sockets: Sockets::open()?, tun: Tun::open()?, to_portal, resolved, name_service: None };
    shell.tun.forward().await?;
    let mut terminate = signal(SignalKind::terminate())?;

    loop {
        let due = shell.state.poll_timeout().at;
        tokio::select! {
            datagrams = shell.sockets.receive() => match datagrams {
                Ok(datagrams) => {
                    for mut it in datagrams {
                        shell.state.handle_datagram(it.local, it.from, it.ecn, &mut it.payload, Instant::now());
                    }
                }
                Err(error) => tracing::debug!(%error, "nothing received"),
            },
            packet = shell.tun.receive() => shell.state.handle_from_kernel(packet?, Instant::now()),
            Some(message) = from_portal.recv() => shell.state.handle_portal(message, Instant::now()),
            Some((question, addresses)) = answers.recv() => {
                shell.state.handle_resolved(&question, addresses, Instant::now());
            }
            () = tokio::time::sleep_until(due.into()) => shell.state.handle_timeout(Instant::now()),
            _ = terminate.recv() => {
                shell.state.stop(Instant::now());
                shell.flush().await?;
                // Datagrams that are on their way may need a moment.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            ended = &mut link => return Ok(ended?),
        }
        shell.flush().await?;
    }
}

impl Shell {
    /// Does what the machine wants done.
    async fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(transmit) = self.state.poll_transmit() {
            self.sockets.send(&transmit);
        }
        while let Some(effect) = self.state.poll_effect() {
            match effect {
                Effect::ToKernel(packet) => self.tun.send(&packet).await,
                Effect::ToPortal(event, payload) => {
                    if self.to_portal.send((event, payload)).is_err() {
                        tracing::debug!(event, "the portal link has ended");
                    }
                }
                Effect::Addresses(ipv4, ipv6) => {
                    self.name_service = None;
                    self.tun.assign(ipv4, ipv6).await?;
                    self.name_service = Some(names::Service::start(&[ipv4.into(), ipv6.into()]).await?);
                }
                Effect::Resolve(question) => {
                    let resolved = self.resolved.clone();
                    tokio::spawn(async move {
                        let addresses = names::look_up(&question.name).await;
                        // The gateway may be gone.
                        drop(resolved.send((question, addresses)));
                    });
                }
            }
        }
        Ok(())
    }
}
