//! The hand on the host: brings it in line with the session's newest wish, and tells what happens to it.
//!
//! A task of its own, because the kernel and files may take their time. Order matters: addresses and routes, then the
//! stub resolver on those addresses, then the host's DNS settings that point there. Going down it is the reverse.

use std::{net::IpAddr, time::Duration};

use dbus_api::{Warning, WarningCode};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use host::{Applied, Host, Watch, watch::Event};
use resolver::{Forwarder, ServeError, Server};
use session::{DnsConfig, HostConfig, Input};

/// Until we try again what is refused now and may be granted later, without anybody telling us when.
const AGAIN: Duration = Duration::from_secs(5);

/// Where programs expect a resolver.
const DNS_PORT: u16 = 53;
/// Where it is if that port is taken and whoever answers the programs can be told about another.
const OTHER_DNS_PORTS: [u16; 3] = [5053, 10_053, 53_053];

/// The hand. Dropping it leaves the host as it is.
#[derive(Debug)]
pub(super) struct HostHand {
    wishes: watch::Sender<Wish>,
    news: mpsc::Receiver<Input>,
    task: JoinHandle<()>,
}

/// What the session wants, and whom the stub resolver asks.
#[derive(Clone, Debug, Default)]
struct Wish {
    config: HostConfig,
    ask: Option<mpsc::Sender<dataplane::Command>>,
    /// How often answers were to be forgotten.
    flushes: u64,
}

/// The stub resolver.
struct Names {
    /// Whom it asks.
    ask: mpsc::Sender<dataplane::Command>,
    server: Server,
    /// Where it listens, once it does. Stays so, in order that nothing is interrupted.
    port: Option<u16>,
}

/// What the task owns.
struct Worker {
    host: Host,
    /// What the host was told last.
    told: HostConfig,
    names: Option<Names>,
    forwarder: Forwarder,
    /// How often whoever keeps answers was told to forget them.
    flushes: u64,
    /// The session's last wish, what it was told came of it, and what of that is not the host's fault.
    granted: HostConfig,
    warnings: Vec<Warning>,
    own_warnings: Vec<Warning>,
    /// Whether some of it is worth trying again.
    again: bool,
    news: mpsc::Sender<Input>,
}

impl HostHand {
    /// Removes what an earlier process may have left, then waits for wishes.
    pub(super) async fn start(host: Host, forwarder: Forwarder) -> anyhow::Result<Self> {
        let mut watch = host.watch()?;
        watch.ready().await;
        let (wishes, inbox) = watch::channel(Wish::default());
        let (outbox, news) = mpsc::channel(16);
        let mut worker = Worker {
            host,
            told: HostConfig::default(),
            names: None,
            forwarder,
            flushes: 0,
            granted: HostConfig::default(),
            warnings: Vec::new(),
            own_warnings: Vec::new(),
            again: false,
            news: outbox,
        };
        let leftovers = worker.host.apply(&HostConfig::default()).await;
        report(&leftovers);
        let resolvers = worker.host.system_resolvers().await;
        worker.forwarder.set_host_resolvers(resolvers.clone());
        // There is room: nothing else was sent yet.
        let _sent = worker.news.try_send(Input::ResolversChanged(resolvers));
        let task = tokio::spawn(worker.run(watch, inbox));
        Ok(Self { wishes, news, task })
    }

    /// The host shall look like this. A newer wish replaces one that has not been looked at yet.
    pub(super) fn wish(&self, config: HostConfig, ask: Option<mpsc::Sender<dataplane::Command>>) {
        self.wishes.send_modify(|wish| {
            wish.config = config;
            wish.ask = ask;
        });
    }

    /// Names have other answers now: whoever keeps old ones on this host shall forget them.
    pub(super) fn flush_names(&self) {
        self.wishes.send_modify(|wish| wish.flushes += 1);
    }

    /// The host shall look as wished, whatever somebody did to it since.
    pub(super) fn wish_again(&self) {
        self.wishes.send_modify(|_same| {});
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        match self.news.recv().await {
            Some(input) => input,
            None => std::future::pending().await,
        }
    }
}

impl Drop for HostHand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    async fn run(mut self, mut watch: Watch, mut inbox: watch::Receiver<Wish>) {
        let mut watching = true;
        loop {
            tokio::select! {
                biased;
                changed = inbox.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wish = inbox.borrow_and_update().clone();
                    self.grant(wish).await;
                }
                () = tokio::time::sleep(AGAIN), if self.again => self.reapply().await,
                event = watch.next(), if watching => match event {
                    Some(event) => self.noticed(event).await,
                    None => {
                        watching = false;
                        tracing::warn!("changes of this host's network are no longer noticed");
                    }
                },
            }
        }
    }

    async fn grant(&mut self, wish: Wish) {
        let Wish { config, ask, flushes } = wish;
        let mut warnings = Vec::new();
        let wanted = match (&config.addresses, ask) {
            (Some(addresses), Some(ask)) => {
                let without_names = HostConfig { dns: self.told.dns.clone(), ..config.clone() };
                let _reported_below = self.apply(&without_names).await;
                match self.serve(&addresses.sentinels, ask).await {
                    Ok(DNS_PORT) => config.clone(),
                    Ok(other) => {
                        let dns = config.dns.clone().map(|dns| DnsConfig { port: Some(other), ..dns });
                        HostConfig { dns, ..config.clone() }
                    }
                    Err(warning) => {
                        // Nobody must be sent to a resolver that is not there.
                        warnings.push(warning);
                        HostConfig { dns: None, ..config.clone() }
                    }
                }
            }
            _ => config.clone(),
        };
        let applied = self.apply(&wanted).await;
        if std::mem::replace(&mut self.flushes, flushes) != flushes {
            self.host.flush_dns_caches().await;
        }
        if config.addresses.is_none() {
            self.names = None;
        }
        report(&applied);
        self.again = applied.retry;
        self.granted = config;
        self.own_warnings.clone_from(&warnings);
        warnings.extend(applied.warnings.into_iter().map(warning));
        self.tell_warnings(warnings).await;
    }

    /// Somebody else was busy: everything once more. The session is told when that makes a difference.
    async fn reapply(&mut self) {
        let applied = self.host.reapply().await;
        self.again = applied.retry;
        let warnings: Vec<_> =
            self.own_warnings.iter().cloned().chain(applied.warnings.iter().cloned().map(warning)).collect();
        if warnings != self.warnings {
            report(&applied);
            self.tell_warnings(warnings).await;
        }
    }

    async fn tell_warnings(&mut self, warnings: Vec<Warning>) {
        self.warnings.clone_from(&warnings);
        self.tell(Input::HostApplied { wish: self.granted.clone(), warnings }).await;
    }

    async fn apply(&mut self, config: &HostConfig) -> Applied {
        self.told = config.clone();
        self.host.apply(config).await
    }

    /// The stub resolver listens there, and asks this packet thread. Says on which port.
    async fn serve(&mut self, sentinels: &[IpAddr], ask: mpsc::Sender<dataplane::Command>) -> Result<u16, Warning> {
        if self.names.as_ref().is_some_and(|names| !names.ask.same_channel(&ask)) {
            // The old one first, because it holds the ports.
            self.names = None;
        }
        let forwarder = self.forwarder.clone();
        let names = self.names.get_or_insert_with(|| Names {
            ask: ask.clone(),
            server: Server::new(ask, forwarder),
            port: None,
        });
        let first = names.port.unwrap_or(DNS_PORT);
        let mut outcome = names.server.serve(sentinels, first).await.map(|()| first);
        if names.port.is_none()
            && matches!(outcome, Err(ServeError::PortInUse { .. }))
            && self.host.supports_custom_port()
        {
            for port in OTHER_DNS_PORTS {
                if names.server.serve(sentinels, port).await.is_ok() {
                    if let Err(error) = &outcome {
                        tracing::info!(port, %error, "names are answered on another port");
                    }
                    outcome = Ok(port);
                    break;
                }
            }
        }
        if !sentinels.is_empty() {
            names.port = names.port.or(outcome.as_ref().ok().copied());
        }
        outcome.map_err(|error| {
            tracing::warn!(%error, "cannot serve names");
            let code = match error {
                ServeError::PortInUse { .. } => WarningCode::DnsPortTaken,
                ServeError::NotPermitted { .. } => WarningCode::DnsPortNotPermitted,
                ServeError::Bind { .. } => WarningCode::DnsNotServed,
            };
            Warning { code, text: error.to_string() }
        })
    }

    async fn noticed(&mut self, event: Event) {
        let input = match event {
            Event::NetworkChanged => {
                self.forwarder.forget_connections();
                Some(Input::NetworkChanged)
            }
            Event::NetworkLost => Some(Input::NetworkLost),
            Event::CaptivePortal(captive) => Some(Input::CaptivePortal(captive)),
            Event::Asleep(asleep) => Some(Input::Asleep(asleep)),
            Event::ResolversChanged(resolvers) => {
                self.forwarder.set_host_resolvers(resolvers.clone());
                Some(Input::ResolversChanged(resolvers))
            }
            Event::Drifted => None,
        };
        self.reapply().await;
        if let Some(input) = input {
            self.tell(input).await;
        }
    }

    async fn tell(&self, input: Input) {
        if self.news.send(input).await.is_err() {
            tracing::debug!("nobody wants to know about the host any more");
        }
    }
}

fn report(applied: &Applied) {
    for warning in &applied.warnings {
        tracing::warn!(code = warning.code, remedy = warning.remedy, "{}", warning.text);
    }
}

fn warning(warning: host::Warning) -> Warning {
    Warning { code: warning.code.into(), text: format!("{} {}", warning.text, warning.remedy) }
}
