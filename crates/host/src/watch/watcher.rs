//! The task of the watch.

use std::future::pending;
use std::time::Duration;

use model::Resolver;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::file::FileWatch;
use super::managed_state::ManagedState;
use super::services::{ServiceEvent, Services};
use super::uplink::{UplinkChange, Uplinks};
use crate::dns::Dns;
use crate::kernel::Kernel;
use crate::netlink::{KernelError, KernelEvents};

/// Delay from the first notification to reading the state: a DHCP client or NetworkManager makes several changes.
const NETWORK_SETTLE_TIME: Duration = Duration::from_millis(500);

/// The same for files: programs that write a file in place truncate it first.
const FILE_SETTLE_TIME: Duration = Duration::from_millis(100);

/// Delay after the kernel has closed our socket or has not answered, which is unexpected.
const KERNEL_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Delay between two attempts to connect to a system bus: many hosts have none, and a late one is not urgent.
const BUS_RETRY_DELAY: Duration = Duration::from_secs(30);

/// Time limit for a connection to the bus.
const BUS_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the task.
pub(super) struct Watcher {
    interface: String,
    kernel: Kernel,
    dns: Dns,
    /// The index of our interface.
    tunnel: Option<u32>,
    uplinks: Uplinks,
    managed: ManagedState,
    resolvers: Vec<Resolver>,
    /// The last seen content of the live file, while it carries our marker.
    our_text: Option<Vec<u8>>,
    /// Whether the machine has resumed since the last read.
    resumed: bool,
    captive_portal: bool,
    events: mpsc::Sender<Event>,
}

/// The receiver of events was dropped.
struct ReceiverDropped;

/// Differences between two reads of the kernel's state.
struct Differences {
    uplink: UplinkChange,
    drifted: bool,
}

impl Watcher {
    pub(super) fn new(interface: String, kernel: Kernel, dns: Dns, events: mpsc::Sender<Event>) -> Self {
        Self {
            interface,
            kernel,
            tunnel: None,
            uplinks: Uplinks::default(),
            managed: ManagedState::default(),
            resolvers: Vec::new(),
            our_text: dns.file().our_text(),
            dns,
            resumed: false,
            captive_portal: false,
            events,
        }
    }

    /// Runs until the receiver of events is dropped.
    pub(super) async fn run(
        mut self,
        kernel_events: KernelEvents,
        mut file: Option<FileWatch>,
        read_done: oneshot::Sender<()>,
    ) {
        let mut kernel_events = Some(kernel_events);
        let first_read = self.read_kernel().await;
        if let Err(error) = &first_read {
            tracing::debug!(%error, "cannot read the host's network yet");
        }
        self.resolvers = self.dns.system_resolvers(self.tunnel).await;
        // The receiver may have been dropped.
        let _ = read_done.send(());
        // A machine that boots without a network loses none, but the session has to know.
        if first_read.is_ok() && self.uplinks.is_empty() && self.send(Event::NetworkLost).await.is_err() {
            return;
        }

        let mut network_due: Option<Instant> = None;
        let mut file_due: Option<Instant> = None;
        let mut services: Option<Services> = None;
        let mut services_due: Option<Instant> = Some(Instant::now());
        loop {
            let sent = tokio::select! {
                open = next_kernel_event(&mut kernel_events) => {
                    // While there is no socket, notifications are lost: read the state once there is one again.
                    let delay = if open { NETWORK_SETTLE_TIME } else { KERNEL_RETRY_DELAY };
                    network_due.get_or_insert(Instant::now() + delay);
                    Ok(())
                }
                changed = file_changed(&mut file) => {
                    if let Err(error) = changed {
                        tracing::warn!(%error, "changes of the host's resolvers are no longer noticed");
                        file = None;
                    }
                    file_due.get_or_insert(Instant::now() + FILE_SETTLE_TIME);
                    Ok(())
                }
                event = next_service_event(&mut services) => match event {
                    Some(ServiceEvent::Suspending) => self.send(Event::Asleep(true)).await,
                    Some(ServiceEvent::Resumed) => {
                        // The network may need a moment; its changes until then belong to the same event.
                        self.resumed = true;
                        network_due.get_or_insert(Instant::now() + NETWORK_SETTLE_TIME);
                        self.send(Event::Asleep(false)).await
                    }
                    Some(ServiceEvent::CaptivePortal(present)) => self.update_captive_portal(present).await,
                    // Our own changes are signalled too; then the read finds no difference.
                    Some(ServiceEvent::ResolvedChanged) => {
                        file_due.get_or_insert(Instant::now() + FILE_SETTLE_TIME);
                        Ok(())
                    }
                    Some(ServiceEvent::ResolvedStarted) => self.update_dns().await,
                    None => {
                        services = None;
                        services_due = Some(Instant::now() + BUS_RETRY_DELAY);
                        self.update_captive_portal(false).await
                    }
                },
                () = at(services_due) => {
                    services = connect_services().await;
                    services_due = services.is_none().then(|| Instant::now() + BUS_RETRY_DELAY);
                    // Earlier signals were missed.
                    if services.is_some() { self.update_resolvers().await } else { Ok(()) }
                }
                () = at(network_due) => {
                    network_due = None;
                    if kernel_events.is_none() {
                        kernel_events = KernelEvents::open().ok();
                        if kernel_events.is_none() {
                            network_due = Some(Instant::now() + KERNEL_RETRY_DELAY);
                        }
                    }
                    match self.read_kernel().await {
                        Ok(differences) => self.report_network(differences).await,
                        Err(error) => {
                            tracing::debug!(%error, "cannot read the host's network");
                            network_due = Some(Instant::now() + KERNEL_RETRY_DELAY);
                            Ok(())
                        }
                    }
                }
                () = at(file_due) => {
                    file_due = None;
                    self.update_dns().await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    async fn report_network(&mut self, differences: Differences) -> Result<(), ReceiverDropped> {
        let change = match (std::mem::take(&mut self.resumed), self.uplinks.is_empty()) {
            (false, _) => differences.uplink,
            // Whatever the difference: during suspend all peers have timed out.
            (true, true) => UplinkChange::Lost,
            (true, false) => UplinkChange::Changed,
        };
        match change {
            UplinkChange::Changed => self.send(Event::NetworkChanged).await,
            UplinkChange::Lost => self.send(Event::NetworkLost).await,
            UplinkChange::None if differences.drifted => self.send(Event::Drifted).await,
            UplinkChange::None => Ok(()),
        }
    }

    /// Reads the state, stores it, and returns the differences.
    async fn read_kernel(&mut self) -> Result<Differences, KernelError> {
        let current = self.kernel.read_state(&self.interface).await?;
        let addresses = self.kernel.addresses().await?;
        let uplinks = Uplinks::new(&current.routes, &addresses, current.tunnel.as_ref().map(|link| link.index));
        let managed = ManagedState::new(&current);

        self.tunnel = current.tunnel.as_ref().map(|link| link.index);
        let differences =
            Differences { uplink: self.uplinks.change_to(&uplinks), drifted: self.managed.has_drifted(&managed) };
        self.uplinks = uplinks;
        self.managed = managed;
        Ok(differences)
    }

    async fn update_dns(&mut self) -> Result<(), ReceiverDropped> {
        // Missing text is drift even if it was missing before: we may have written in between.
        let text = self.dns.file().our_text();
        if text.is_none() || (self.our_text.is_some() && self.our_text != text) {
            self.send(Event::Drifted).await?;
        }
        self.our_text = text;
        self.update_resolvers().await
    }

    async fn update_resolvers(&mut self) -> Result<(), ReceiverDropped> {
        let resolvers = self.dns.system_resolvers(self.tunnel).await;
        if self.resolvers != resolvers {
            self.resolvers.clone_from(&resolvers);
            self.send(Event::ResolversChanged(resolvers)).await?;
        }
        Ok(())
    }

    async fn update_captive_portal(&mut self, present: bool) -> Result<(), ReceiverDropped> {
        if std::mem::replace(&mut self.captive_portal, present) != present {
            self.send(Event::CaptivePortal(present)).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), ReceiverDropped> {
        tracing::debug!(event = event.name(), "the host changed");
        self.events.send(event).await.map_err(|_| ReceiverDropped)
    }
}

/// Waits for a relevant notification; false if the socket has closed. Cancel-safe.
async fn next_kernel_event(events: &mut Option<KernelEvents>) -> bool {
    let Some(open) = events else { return pending().await };
    let is_open = open.next().await.is_some();
    if !is_open {
        *events = None;
    }
    is_open
}

/// Cancel-safe.
async fn next_service_event(services: &mut Option<Services>) -> Option<ServiceEvent> {
    match services {
        Some(services) => services.next().await,
        None => pending().await,
    }
}

/// `None` on a host without a system bus.
async fn connect_services() -> Option<Services> {
    let subscribed = async { Services::listen(zbus::Connection::system().await?).await };
    tokio::time::timeout(BUS_TIMEOUT, subscribed)
        .await
        .ok()?
        .inspect_err(|error| tracing::trace!(%error, "no system bus"))
        .ok()
}

/// Cancel-safe.
async fn file_changed(file: &mut Option<FileWatch>) -> std::io::Result<()> {
    match file {
        Some(file) => file.changed().await,
        None => pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
