//! The loop: feeds the session with what happens, and has its effects carried out. It decides nothing.

mod hands;
mod host_hand;
mod outbox;
mod pinned_names;
mod status_file;
mod status_line;

use std::{
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use model::Deadline;
use tokio::sync::{mpsc, watch};

use self::{hands::Hands, host_hand::HostHand, status_file::StatusFile};
use bus::Bus;
use dataplane::Statistics;
use event_loop::{Alarm, Clock};
use host::Host;
use logging::LogHandle;
use resolver::Forwarder;
use session::{Account, Effect, HostConfig, Input, Request, Session, Snapshot, Whose};
use settings::{Args, Config, Settings, file::ConfigPaths};

use crate::{
    fd_store::{self, SignIn},
    identity::Identity,
    notify::Notify,
    signals::{Signal, Signals},
    token::{self, Mode},
};

/// Put on each socket whose packets must stay out of the tunnel. The same as a gateway's on this host, on purpose: so
/// that its packets stay out of ours, and ours out of its.
pub const MARK: u32 = 0xfd00_2021;

/// How many requests may wait. More wait at their senders.
const REQUESTS: usize = 16;

/// How long taking everything down may take. Shorter than any service manager's patience.
const LONGEST_STOP: Duration = Duration::from_secs(9);

/// How often and how patiently we look whether another daemon ends.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What is read again when the administrator says so.
#[derive(Debug)]
pub struct Sources {
    /// What was typed.
    pub args: Args,
    /// Where tokens of this machine may be.
    pub tokens: token::Environment,
    /// What is logged.
    pub logs: LogHandle,
}

/// Runs until a signal ends it, or something without which it makes no sense.
pub async fn run(config: Config, mode: Mode, sources: Sources) -> anyhow::Result<()> {
    let signals = Signals::listen().context("listen for signals")?;
    let identity = Identity::discover(config.id.as_deref(), config.name.as_deref()).context("find out who we are")?;
    be_alone().await?;
    let host = Host::open(host::INTERFACE, config.dns_control, MARK).await.context("take hold of the host")?;
    let forwarder = Forwarder::new(MARK);
    let host = HostHand::start(host, forwarder.clone()).await?;

    let clock = Clock::new();
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mode, token) = match mode {
        Mode::Service(token) => (session::Mode::Service, Some(token)),
        Mode::User => (session::Mode::User, None),
    };
    let kept = fd_store::take_back().filter(|_| mode == session::Mode::User);
    let internet_resource = kept.as_ref().map_or(config.internet_resource, |kept| kept.internet_resource);
    let session = Session::new(mode, internet_resource, clock.now());
    let (publish, snapshot) = watch::channel(session.snapshot().clone());
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let statistics = Statistics::default();
    let bus = match mode {
        session::Mode::User => {
            let (args, logs) = (sources.args.clone(), sources.logs.clone());
            let settings = Settings::start(args, ConfigPaths::default(), Some(logs), requests.clone());
            let (people, statistics) = (bus::People::default(), statistics.clone());
            let daemon = bus::Daemon { requests, snapshot, started, clock, forwarder, settings, people, statistics };
            Some(Bus::serve(daemon).await?)
        }
        session::Mode::Service => None,
    };

    let notify = Notify::from_env();
    if kept.is_none() {
        notify.remove_fd(fd_store::NAME);
    }
    let account = token.map(|token| Account { token, slug: None, actor: None });
    let account = account.or_else(|| kept.as_ref().map(|kept| kept.account.clone()));
    let status_file = StatusFile::new(mode, started);
    let hands = Hands::new(config.api_url, config.max_partition_time, identity, host, statistics);
    let alarm = Alarm::new(clock)?;
    let mut daemon = Daemon { session, hands, inbox, publish, clock, alarm, notify, status_file, kept, mode, sources };
    daemon.announce();
    daemon.notify.ready();
    // What is known of the host by now counts from the beginning: who is to tell where the portal is?
    while let Some(input) = daemon.hands.next().now_or_never() {
        daemon.feed(input);
    }
    if let Some(account) = account {
        daemon.feed(Input::Begin(account));
    }
    daemon.run(signals, bus).await
}

/// Makes the host as if we had never been here.
pub async fn clean_up(config: &Config) -> anyhow::Result<()> {
    be_alone().await?;
    status_file::clean_up();
    let mut host = Host::open(host::INTERFACE, config.dns_control, MARK).await.context("take hold of the host")?;
    let applied = host.apply(&HostConfig::default()).await;
    for warning in &applied.warnings {
        tracing::warn!(code = warning.code, remedy = warning.remedy, "{}", warning.text);
    }
    anyhow::ensure!(applied.warnings.is_empty(), "not everything could be removed");
    Ok(())
}

/// Refuses to go on while another daemon has a tunnel here: what looks like something left behind is in use. The interface
/// lives no longer than the process that holds it, but its end may take a moment.
async fn be_alone() -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        if nix::net::if_::if_nametoindex(host::INTERFACE).is_err() {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    anyhow::bail!("the interface {} exists: another firezoned is running", host::INTERFACE)
}

/// The one owner of the session.
#[derive(Debug)]
struct Daemon {
    session: Session,
    hands: Hands,
    inbox: mpsc::Receiver<Request>,
    publish: watch::Sender<Snapshot>,
    clock: Clock,
    alarm: Alarm,
    notify: Notify,
    status_file: StatusFile,
    /// Who is signed in, as the service manager knows it.
    kept: Option<SignIn>,
    mode: session::Mode,
    sources: Sources,
}

impl Daemon {
    async fn run(mut self, mut signals: Signals, mut bus: Option<Bus>) -> anyhow::Result<()> {
        let end = tokio::select! {
            biased;
            end = self.live(&mut signals) => end,
            () = closed(&mut bus) => Err(anyhow::anyhow!("the system bus is gone")),
        };
        self.notify.stopping();
        tracing::info!("stopping");
        if tokio::time::timeout(LONGEST_STOP, self.wind_down()).await.is_err() {
            tracing::warn!("not everything was taken down in time");
        }
        if let Some(bus) = bus {
            bus.leave().await;
        }
        self.status_file.remove();
        end
    }

    /// Lives until somebody wants it to end. Every future here is cancel-safe: each is one receive from a channel, a
    /// timer, or a queue that only moves when it succeeds.
    async fn live(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut watchdog = self.notify.watchdog_interval().map(tokio::time::interval);
        loop {
            let input = tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Stop => return Ok(()),
                    Signal::Reload => {
                        self.reload();
                        continue;
                    }
                },
                () = tick(&mut watchdog) => {
                    self.notify.watchdog_ping();
                    continue;
                }
                input = self.next() => input,
            };
            self.feed(input);
            if self.sources.args.exit && self.session.snapshot().state == dbus_api::State::Connected {
                return Ok(());
            }
        }
    }

    /// Everything anew: what is logged, the token, all connections.
    fn reload(&mut self) {
        self.notify.reloading();
        self.read_log_filter_again();
        self.find_token_again();
        self.feed(Input::Reset);
        self.notify.ready();
    }

    /// The administrator may have changed their mind about the logs.
    fn read_log_filter_again(&self) {
        match Config::load(&self.sources.args, std::env::var_os, &ConfigPaths::default()) {
            Ok(config) => self.sources.logs.set_filter(&config.log_filter),
            Err(error) => tracing::warn!("cannot read the configuration again, the logs stay as they are: {error}"),
        }
    }

    /// The administrator may have put another token into the file.
    fn find_token_again(&mut self) {
        if self.mode == session::Mode::User {
            return;
        }
        match token::find(&self.sources.tokens) {
            Ok(Mode::Service(token)) => self.feed(Input::Begin(Account { token, slug: None, actor: None })),
            Ok(Mode::User) => tracing::warn!("the token is gone from its place; going on with the one we have"),
            Err(error) => tracing::warn!("cannot read the token again, going on with the one we have: {error}"),
        }
    }

    async fn wind_down(&mut self) {
        self.feed(Input::Stop);
        while !self.session.is_stopped() {
            let input = self.next().await;
            self.feed(input);
        }
    }

    /// The next thing that happens to the session. Cancel-safe.
    async fn next(&mut self) -> Input {
        let due = self.session.poll_timeout();
        loop {
            let set = self.alarm.set(due.map(|at| Deadline { at, reason: "session" }), self.clock.now());
            let rang = tokio::select! {
                biased;
                Some(request) = self.inbox.recv() => return Input::Request(request),
                input = self.hands.next() => return input,
                rang = self.alarm.rings() => set.and(rang),
            };
            if let Err(error) = rang {
                tracing::warn!(%error, "the kernel's timer does not work");
            }
            // It may have been set for a deadline that is none any more.
            if due.is_some_and(|at| at <= self.clock.now()) {
                return Input::TimeIsUp;
            }
        }
    }

    /// Tells the session, and carries out what it wants. What an effect brings about at once is told at once.
    fn feed(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.session.handle(input, self.clock.now());
            while let Some(effect) = self.session.poll_effect() {
                match effect {
                    Effect::Publish(snapshot) => {
                        let old = self.publish.send_replace(*snapshot);
                        self.announce();
                        self.log_changes(&old);
                    }
                    effect => {
                        if let Some(outcome) = self.hands.carry_out(effect) {
                            debug_assert!(next.is_none(), "one effect per input has an immediate outcome");
                            next = Some(outcome);
                        }
                    }
                }
            }
        }
        self.keep_sign_in();
    }

    /// Lets the service manager know who is signed in, for the process that comes after this one. If it cannot be told now, it
    /// is after the next input.
    fn keep_sign_in(&mut self) {
        if self.mode == session::Mode::Service {
            return; // whose token is found again where it was found
        }
        let internet_resource = self.session.snapshot().internet_resource_active;
        let kept = match self.session.whose() {
            Whose::AsBefore => return,
            Whose::Nobodys => None,
            Whose::Of(account) => Some((account, internet_resource)),
        };
        if kept == self.kept.as_ref().map(|kept| (&kept.account, kept.internet_resource)) {
            return;
        }
        let kept = kept.map(|(account, internet_resource)| SignIn { account: account.clone(), internet_resource });
        let is_told = self.notify.remove_fd(fd_store::NAME)
            && kept.as_ref().is_none_or(|kept| match kept.to_memory() {
                Ok(memory) => self.notify.store_fd(fd_store::NAME, memory.as_fd()),
                Err(error) => {
                    tracing::debug!(%error, "who is signed in will not outlast a restart");
                    true
                }
            });
        if is_told || !self.notify.is_present() {
            self.kept = kept;
        }
    }

    /// Tells those who are not on the bus.
    fn announce(&mut self) {
        let snapshot = self.publish.borrow();
        self.notify.status(&status_line::of(&snapshot));
        self.status_file.write(&snapshot);
    }

    /// The life of a session in the log: nothing that names anybody or anything.
    fn log_changes(&self, old: &Snapshot) {
        let new = self.publish.borrow();
        if (&new.state, &new.reason) != (&old.state, &old.reason) {
            tracing::info!(state = %new.state, reason = new.reason_code(), "session");
        }
    }
}

async fn closed(bus: &mut Option<Bus>) {
    match bus {
        Some(bus) => bus.closed().await,
        None => std::future::pending().await,
    }
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
