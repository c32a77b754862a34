//! Brings the host in line with the latest configuration of the session, and reports events of the host.
//!
//! This is a task of its own because the kernel and files may be slow. The order is: addresses and routes, then the stub
//! resolver on those addresses, then the DNS settings that point to it. On removal the order is reversed.

use std::{net::IpAddr, time::Duration};

use dbus_api::{Warning, WarningCode};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use host::{Applied, Host, Watch, watch::Event};
use resolver::{Forwarder, ServeError, Server};
use session::{DnsConfig, HostConfig, HostEvent};

/// The delay before a configuration that failed for a temporary reason is applied again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The port on which programs expect a resolver.
const DNS_PORT: u16 = 53;
/// Ports to try if 53 is taken, where the resolver of the host can be configured to use another port.
const FALLBACK_DNS_PORTS: [u16; 3] = [5053, 10_053, 53_053];

/// Events that may wait for the daemon.
const MAX_PENDING_EVENTS: usize = 16;

/// The handle of the task. Dropping it leaves the host as it is.
#[derive(Debug)]
pub(super) struct HostTask {
    desired: watch::Sender<Desired>,
    events: mpsc::Receiver<HostEvent>,
    task: JoinHandle<()>,
}

/// What the session wants of the host.
#[derive(Clone, Debug, Default)]
struct Desired {
    config: HostConfig,
    /// The packet thread that answers the stub resolver.
    dataplane: Option<mpsc::Sender<dataplane::Command>>,
    /// The number of requests to flush the caches.
    flushes: u64,
}

/// The stub resolver.
struct StubResolver {
    /// The packet thread that answers it.
    dataplane: mpsc::Sender<dataplane::Command>,
    server: Server,
    /// The port on which it listens. It is kept so that programs are not interrupted.
    port: Option<u16>,
}

/// The state of the task.
struct Worker {
    host: Host,
    /// The configuration that was applied last.
    applied: HostConfig,
    resolver: Option<StubResolver>,
    forwarder: Forwarder,
    /// The number of cache flushes that have been executed.
    flushes: u64,
    /// The latest configuration of the session.
    config: HostConfig,
    /// The warnings that were reported for it.
    warnings: Vec<Warning>,
    /// Those of the stub resolver.
    resolver_warnings: Vec<Warning>,
    /// Whether a part failed for a temporary reason.
    should_retry: bool,
    events: mpsc::Sender<HostEvent>,
}

impl HostTask {
    /// Removes what an earlier process may have left, then waits for configurations.
    pub(super) async fn start(host: Host, forwarder: Forwarder) -> anyhow::Result<Self> {
        let mut watch = host.watch()?;
        watch.ready().await;
        let (desired, inbox) = watch::channel(Desired::default());
        let (outbox, events) = mpsc::channel(MAX_PENDING_EVENTS);
        let mut worker = Worker {
            host,
            applied: HostConfig::default(),
            resolver: None,
            forwarder,
            flushes: 0,
            config: HostConfig::default(),
            warnings: Vec::new(),
            resolver_warnings: Vec::new(),
            should_retry: false,
            events: outbox,
        };
        let leftovers = worker.host.apply(&HostConfig::default()).await;
        report(&leftovers);
        let resolvers = worker.host.system_resolvers().await;
        worker.forwarder.set_host_resolvers(resolvers.clone());
        // The channel is still empty, so this succeeds.
        let _sent = worker.events.try_send(HostEvent::ResolversChanged(resolvers));
        let task = tokio::spawn(worker.run(watch, inbox));
        Ok(Self { desired, events, task })
    }

    /// Applies this configuration. It supersedes one that has not been applied yet.
    pub(super) fn configure(&self, config: HostConfig, dataplane: Option<mpsc::Sender<dataplane::Command>>) {
        self.desired.send_modify(|desired| {
            desired.config = config;
            desired.dataplane = dataplane;
        });
    }

    /// Flushes the DNS caches of the host, because names may have other answers now.
    pub(super) fn flush_caches(&self) {
        self.desired.send_modify(|desired| desired.flushes += 1);
    }

    /// Applies the configuration again, in case other programs have changed it.
    pub(super) fn reapply(&self) {
        self.desired.send_modify(|_unchanged| {});
    }

    /// The next event of the host. Cancel-safe.
    pub(super) async fn next(&mut self) -> HostEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

impl Drop for HostTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    async fn run(mut self, mut watch: Watch, mut inbox: watch::Receiver<Desired>) {
        let mut is_watching = true;
        loop {
            tokio::select! {
                biased;
                changed = inbox.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let desired = inbox.borrow_and_update().clone();
                    self.configure(desired).await;
                }
                () = tokio::time::sleep(RETRY_DELAY), if self.should_retry => self.reapply().await,
                event = watch.next(), if is_watching => match event {
                    Some(event) => self.handle_event(event).await,
                    None => {
                        is_watching = false;
                        tracing::warn!("cannot watch the network any longer");
                    }
                },
            }
        }
    }

    async fn configure(&mut self, desired: Desired) {
        let Desired { config, dataplane, flushes } = desired;
        let mut warnings = Vec::new();
        let effective = match (&config.addresses, dataplane) {
            (Some(addresses), Some(dataplane)) => {
                let without_dns = HostConfig { dns: self.applied.dns.clone(), ..config.clone() };
                let _reported_below = self.apply(&without_dns).await;
                match self.serve(&addresses.sentinels, dataplane).await {
                    Ok(DNS_PORT) => config.clone(),
                    Ok(other) => {
                        let dns = config.dns.clone().map(|dns| DnsConfig { port: Some(other), ..dns });
                        HostConfig { dns, ..config.clone() }
                    }
                    Err(warning) => {
                        // No program must be pointed to a resolver that does not run.
                        warnings.push(warning);
                        HostConfig { dns: None, ..config.clone() }
                    }
                }
            }
            _ => config.clone(),
        };
        let applied = self.apply(&effective).await;
        if std::mem::replace(&mut self.flushes, flushes) != flushes {
            self.host.flush_dns_caches().await;
        }
        if config.addresses.is_none() {
            self.resolver = None;
        }
        report(&applied);
        self.should_retry = applied.retry;
        self.config = config;
        self.resolver_warnings.clone_from(&warnings);
        warnings.extend(applied.warnings.into_iter().map(warning));
        self.send_applied(warnings).await;
    }

    /// Applies the configuration again and reports the warnings if they have changed.
    async fn reapply(&mut self) {
        let applied = self.host.reapply().await;
        self.should_retry = applied.retry;
        let warnings: Vec<_> =
            self.resolver_warnings.iter().cloned().chain(applied.warnings.iter().cloned().map(warning)).collect();
        if warnings != self.warnings {
            report(&applied);
            self.send_applied(warnings).await;
        }
    }

    async fn send_applied(&mut self, warnings: Vec<Warning>) {
        self.warnings.clone_from(&warnings);
        self.send(HostEvent::Applied { config: self.config.clone(), warnings }).await;
    }

    async fn apply(&mut self, config: &HostConfig) -> Applied {
        self.applied = config.clone();
        self.host.apply(config).await
    }

    /// Lets the stub resolver listen on these addresses. Returns its port.
    async fn serve(
        &mut self,
        sentinels: &[IpAddr],
        dataplane: mpsc::Sender<dataplane::Command>,
    ) -> Result<u16, Warning> {
        if self.resolver.as_ref().is_some_and(|it| !it.dataplane.same_channel(&dataplane)) {
            // The old one holds the ports.
            self.resolver = None;
        }
        let forwarder = self.forwarder.clone();
        let resolver = self.resolver.get_or_insert_with(|| StubResolver {
            dataplane: dataplane.clone(),
            server: Server::new(dataplane, forwarder),
            port: None,
        });
        let first = resolver.port.unwrap_or(DNS_PORT);
        let mut outcome = resolver.server.serve(sentinels, first).await.map(|()| first);
        if resolver.port.is_none()
            && matches!(outcome, Err(ServeError::PortInUse { .. }))
            && self.host.supports_custom_port()
        {
            for port in FALLBACK_DNS_PORTS {
                if resolver.server.serve(sentinels, port).await.is_ok() {
                    if let Err(error) = &outcome {
                        tracing::info!(port, %error, "port 53 is taken, serving DNS on another port");
                    }
                    outcome = Ok(port);
                    break;
                }
            }
        }
        if !sentinels.is_empty() {
            resolver.port = resolver.port.or(outcome.as_ref().ok().copied());
        }
        outcome.map_err(|error| {
            tracing::warn!(%error, "cannot serve DNS");
            let code = match error {
                ServeError::PortInUse { .. } => WarningCode::DnsPortTaken,
                ServeError::NotPermitted { .. } => WarningCode::DnsPortNotPermitted,
                ServeError::Bind { .. } => WarningCode::DnsNotServed,
            };
            Warning { code, text: error.to_string() }
        })
    }

    async fn handle_event(&mut self, event: Event) {
        let event = match event {
            Event::NetworkChanged => {
                self.forwarder.forget_connections();
                Some(HostEvent::NetworkChanged)
            }
            Event::NetworkLost => Some(HostEvent::NetworkLost),
            Event::CaptivePortal(captive) => Some(HostEvent::CaptivePortal(captive)),
            Event::Asleep(asleep) => Some(HostEvent::Sleeping(asleep)),
            Event::ResolversChanged(resolvers) => {
                self.forwarder.set_host_resolvers(resolvers.clone());
                Some(HostEvent::ResolversChanged(resolvers))
            }
            Event::Drifted => None,
        };
        self.reapply().await;
        if let Some(event) = event {
            self.send(event).await;
        }
    }

    async fn send(&self, event: HostEvent) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("the daemon does not receive events of the host any longer");
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
