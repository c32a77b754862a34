//! Notices when the host changes under us.
//!
//! One task listens to rtnetlink's multicast groups, to inotify and, on the bus, to [`services`]. The kernel does not tell
//! *what* changed in our terms, so its notice only starts a short wait; then the task looks, and compares with what it saw
//! last: [`outside`] is what sessions depend on, [`ground`] what our settings depend on. Nothing is announced twice.

mod file;
mod ground;
mod outside;
mod services;

use std::future::pending;
use std::time::Duration;

use anyhow::Context as _;
use model::Resolver;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::file::FileWatch;
use self::ground::Ground;
use self::outside::{Outside, Turn};
use self::services::{Said, Services};
use super::dns::Dns;
use super::kernel::Kernel;
use super::netlink::{News, Refusal};

/// A DHCP client or NetworkManager takes several steps; we look when they are through.
const NETWORK_SETTLES: Duration = Duration::from_millis(500);

/// Programs that write a file in place empty it first.
const FILE_SETTLES: Duration = Duration::from_millis(100);

/// After the kernel closed our socket or gave no answer, which it has no reason to do.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two attempts to find a system bus: many hosts have none, and one that appears late is not urgent.
const BUS_AGAIN: Duration = Duration::from_secs(30);

/// For a bus to let us in.
const BUS_PATIENCE: Duration = Duration::from_secs(5);

/// More than the daemon can leave unread without being stuck; then the watch waits.
const UNREAD: usize = 16;

/// Something the daemon should know. After each of them [`super::Host::reapply`] brings our own settings back in line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Our way to the outside is another one: new default route, or the address on its link is gone. Sessions start over.
    NetworkChanged,
    /// There is no default route any more, or there was none from the beginning. [`Event::NetworkChanged`] follows when
    /// there is one again.
    NetworkLost,
    /// Whether this network wants somebody to sign in first, with a browser. It does not until somebody says so.
    CaptivePortal(bool),
    /// Whether this machine is about to sleep. When it has woken up, [`Event::NetworkChanged`] or [`Event::NetworkLost`]
    /// follow.
    Asleep(bool),
    /// The host's own resolvers are others now.
    ResolversChanged(Vec<Resolver>),
    /// Somebody else touched what we keep in step with or what is ours: only [`super::Host::reapply`] is due.
    Drifted,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Event>,
    first_look: Option<oneshot::Receiver<()>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Must be called within a runtime.
    pub(super) fn start(interface: &str, dns: Dns) -> anyhow::Result<Self> {
        let news = News::open().context("listen to rtnetlink")?;
        let kernel = Kernel::open().context("open a netlink socket")?;
        let file = FileWatch::new(dns.file().path())
            .inspect_err(|error| tracing::warn!(%error, "changes of the host's resolvers will not be noticed"))
            .ok();
        let (tell, events) = mpsc::channel(UNREAD);
        let watcher = Watcher {
            interface: interface.to_owned(),
            kernel,
            outside: Outside::default(),
            ground: Ground::default(),
            resolvers: Vec::new(),
            our_text: dns.file().our_text(),
            tunnel: None,
            dns,
            woke: false,
            captive: false,
            tell,
        };
        let (looked, first_look) = oneshot::channel();
        let task = tokio::spawn(watcher.run(news, file, looked));
        Ok(Self { events, first_look: Some(first_look), task })
    }

    /// Waits for the first look around. What changes after it is announced; what was different before is not news.
    pub async fn ready(&mut self) {
        if let Some(first_look) = self.first_look.take() {
            // An error means that the task has died, which the next event tells.
            let _ = first_look.await;
        }
    }

    /// The next event. Cancel-safe. `None` when the watch has died.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task knows.
struct Watcher {
    interface: String,
    kernel: Kernel,
    dns: Dns,
    /// Our link.
    tunnel: Option<u32>,
    outside: Outside,
    ground: Ground,
    resolvers: Vec<Resolver>,
    /// The live file as we saw it last, while it carries our marker.
    our_text: Option<Vec<u8>>,
    /// Whether the machine has woken up since the last look.
    woke: bool,
    captive: bool,
    tell: mpsc::Sender<Event>,
}

/// Nobody listens any more.
struct Unheard;

impl Watcher {
    async fn run(mut self, news: News, mut file: Option<FileWatch>, looked: oneshot::Sender<()>) {
        let mut news = Some(news);
        let seen = self.look().await;
        if let Err(refusal) = &seen {
            tracing::debug!(%refusal, "cannot see the host's network yet");
        }
        self.resolvers = self.dns.system_resolvers(self.tunnel).await;
        // Nobody has to wait for it.
        let _ = looked.send(());
        // A machine that boots without a network has none to lose, but whoever listens must know.
        if seen.is_ok() && self.outside.leads_nowhere() && self.tell(Event::NetworkLost).await.is_err() {
            return;
        }

        let mut network_due: Option<Instant> = None;
        let mut file_due: Option<Instant> = None;
        let mut services: Option<Services> = None;
        let mut services_due: Option<Instant> = Some(Instant::now());
        loop {
            let heard = tokio::select! {
                noticed = next_news(&mut news) => {
                    // Without a socket everything may have changed by the time there is one again.
                    let wait = if noticed { NETWORK_SETTLES } else { AGAIN };
                    network_due.get_or_insert(Instant::now() + wait);
                    Ok(())
                }
                noticed = file_changed(&mut file) => {
                    if let Err(error) = noticed {
                        tracing::warn!(%error, "changes of the host's resolvers are no longer noticed");
                        file = None;
                    }
                    file_due.get_or_insert(Instant::now() + FILE_SETTLES);
                    Ok(())
                }
                said = next_said(&mut services) => match said {
                    Some(Said::FallsAsleep) => self.tell(Event::Asleep(true)).await,
                    Some(Said::Woke) => {
                        // The network may need a moment too; what it does meanwhile is the same news.
                        self.woke = true;
                        network_due.get_or_insert(Instant::now() + NETWORK_SETTLES);
                        self.tell(Event::Asleep(false)).await
                    }
                    Some(Said::Captive(captive)) => self.tell_captive(captive).await,
                    // Our own settings are signalled as well; a look finds nothing to do then.
                    Some(Said::ResolvedChanged) => {
                        file_due.get_or_insert(Instant::now() + FILE_SETTLES);
                        Ok(())
                    }
                    Some(Said::ResolvedStarted) => self.tell_resolvers().await,
                    None => {
                        services = None;
                        services_due = Some(Instant::now() + BUS_AGAIN);
                        self.tell_captive(false).await
                    }
                },
                () = at(services_due) => {
                    services = listen_to_services().await;
                    services_due = services.is_none().then(|| Instant::now() + BUS_AGAIN);
                    // What they said before, nobody has heard.
                    if services.is_some() { self.tell_other_resolvers().await } else { Ok(()) }
                }
                () = at(network_due) => {
                    network_due = None;
                    if news.is_none() {
                        news = News::open().ok();
                        if news.is_none() {
                            network_due = Some(Instant::now() + AGAIN);
                        }
                    }
                    match self.look().await {
                        Ok(seen) => self.tell_network(seen).await,
                        Err(refusal) => {
                            tracing::debug!(%refusal, "cannot see the host's network");
                            network_due = Some(Instant::now() + AGAIN);
                            Ok(())
                        }
                    }
                }
                () = at(file_due) => {
                    file_due = None;
                    self.tell_resolvers().await
                }
            };
            if heard.is_err() {
                return;
            }
        }
    }

    async fn tell_network(&mut self, (turn, moved): (Turn, bool)) -> Result<(), Unheard> {
        let turn = match (std::mem::take(&mut self.woke), self.outside.leads_nowhere()) {
            (false, _) => turn,
            // Whatever it looks like: while we slept everybody else went on.
            (true, true) => Turn::Lost,
            (true, false) => Turn::Changed,
        };
        match turn {
            Turn::Changed => self.tell(Event::NetworkChanged).await,
            Turn::Lost => self.tell(Event::NetworkLost).await,
            Turn::None if moved => self.tell(Event::Drifted).await,
            Turn::None => Ok(()),
        }
    }

    /// Looks, remembers, and says what is different.
    async fn look(&mut self) -> Result<(Turn, bool), Refusal> {
        let have = self.kernel.have(&self.interface).await?;
        let addresses = self.kernel.addresses().await?;
        let outside = Outside::new(&have.routes, &addresses, have.tunnel.as_ref().map(|link| link.index));
        let ground = Ground::new(&have);

        self.tunnel = have.tunnel.as_ref().map(|link| link.index);
        let seen = (self.outside.turn(&outside), self.ground.moved(&ground));
        self.outside = outside;
        self.ground = ground;
        Ok(seen)
    }

    async fn tell_resolvers(&mut self) -> Result<(), Unheard> {
        // Not only when it is different from what we saw: we may have written in between.
        let text = self.dns.file().our_text();
        if text.is_none() || (self.our_text.is_some() && self.our_text != text) {
            self.tell(Event::Drifted).await?;
        }
        self.our_text = text;
        self.tell_other_resolvers().await
    }

    async fn tell_other_resolvers(&mut self) -> Result<(), Unheard> {
        let resolvers = self.dns.system_resolvers(self.tunnel).await;
        if self.resolvers != resolvers {
            self.resolvers.clone_from(&resolvers);
            self.tell(Event::ResolversChanged(resolvers)).await?;
        }
        Ok(())
    }

    async fn tell_captive(&mut self, captive: bool) -> Result<(), Unheard> {
        if std::mem::replace(&mut self.captive, captive) != captive {
            self.tell(Event::CaptivePortal(captive)).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Unheard> {
        tracing::debug!(event = event.name(), "the host changed");
        self.tell.send(event).await.map_err(|_| Unheard)
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::NetworkChanged => "network-changed",
            Self::NetworkLost => "network-lost",
            Self::CaptivePortal(_) => "captive-portal",
            Self::Asleep(_) => "asleep",
            Self::ResolversChanged(_) => "resolvers-changed",
            Self::Drifted => "drifted",
        }
    }
}

/// Waits for something that concerns us; false if the socket closed. Cancel-safe.
async fn next_news(news: &mut Option<News>) -> bool {
    let Some(open) = news else { return pending().await };
    let noticed = open.next().await.is_some();
    if !noticed {
        *news = None;
    }
    noticed
}

/// Cancel-safe.
async fn next_said(services: &mut Option<Services>) -> Option<Said> {
    match services {
        Some(services) => services.next().await,
        None => pending().await,
    }
}

/// `None` on a host without a system bus.
async fn listen_to_services() -> Option<Services> {
    let listening = async { Services::listen(zbus::Connection::system().await?).await };
    tokio::time::timeout(BUS_PATIENCE, listening)
        .await
        .ok()?
        .inspect_err(|error| tracing::trace!(%error, "no bus"))
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
