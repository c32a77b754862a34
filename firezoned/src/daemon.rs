//! The daemon's loop: passes inputs to the session and executes its effects. It decides nothing.

mod effect_runner;
mod host_task;
mod name_addresses;
mod outbox;
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

use self::{effect_runner::EffectRunner, host_task::HostTask, status_file::StatusFile};
use bus::{Bus, DaemonHandle, DaemonRequest};
use dataplane::Statistics;
use event_loop::{Alarm, Clock};
use host::Host;
use logging::LogHandle;
use resolver::Forwarder;
use session::{Account, AccountToKeep, DaemonEvent, Effect, HostConfig, Input, Request, Session, Snapshot};
use settings::{Args, Config, Settings, file::ConfigPaths};

use crate::{
    fd_store::{self, SignIn},
    identity::Identity,
    notify::Notify,
    pending_replies::PendingReplies,
    signals::{Signal, Signals},
    token::{self, Mode},
};

/// The mark on each socket that bypasses the tunnel. A gateway on this host uses the same mark, so that neither one routes
/// the packets of the other.
pub const MARK: u32 = 0xfd00_2021;

/// Requests that may wait. Senders of more are suspended.
const MAX_PENDING_REQUESTS: usize = 16;

/// The time limit for taking everything down. Shorter than the stop timeout of service managers.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);

/// The number of checks whether the interface of another daemon still exists.
const INTERFACE_CHECKS: u32 = 20;
/// The delay between two of them.
const INTERFACE_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The sources that are read again on SIGHUP.
#[derive(Debug)]
pub struct Sources {
    /// The command line.
    pub args: Args,
    /// The places of service tokens.
    pub tokens: token::Environment,
    /// The log filter.
    pub logs: LogHandle,
}

/// Runs until a signal or a fatal error ends it.
///
/// # Errors
/// The daemon cannot start, or the bus is lost.
pub async fn run(config: Config, mode: Mode, sources: Sources) -> anyhow::Result<()> {
    let signals = Signals::listen().context("listen for signals")?;
    let identity = Identity::discover(config.id.as_deref(), config.name.as_deref())
        .context("determine the identity of this device")?;
    ensure_no_other_daemon().await?;
    let host = Host::open(host::INTERFACE, config.dns_control, MARK).await.context("open the network of the host")?;
    let forwarder = Forwarder::new(MARK);
    let host = HostTask::start(host, forwarder.clone()).await?;

    let clock = Clock::new();
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mode, token) = match mode {
        Mode::Service(token) => (session::Mode::Service, Some(token)),
        Mode::User => (session::Mode::User, None),
    };
    let stored = fd_store::load().filter(|_| mode == session::Mode::User);
    let internet_resource = stored.as_ref().map_or(config.internet_resource, |stored| stored.internet_resource);
    let session = Session::new(mode, internet_resource, clock.now());
    let (publish, snapshot) = watch::channel(session.snapshot().clone());
    let (internet_resource, internet_resource_settings) = mpsc::channel(MAX_PENDING_REQUESTS);
    let (requests, inbox) = mpsc::channel(MAX_PENDING_REQUESTS);
    let statistics = Statistics::default();
    let bus = match mode {
        session::Mode::User => {
            let (args, logs) = (sources.args.clone(), sources.logs.clone());
            let settings = Settings::start(args, ConfigPaths::default(), Some(logs), internet_resource);
            let (users, statistics) = (bus::UserDatabase::default(), statistics.clone());
            let daemon = DaemonHandle { requests, snapshot, started, clock, forwarder, settings, users, statistics };
            Some(Bus::serve(daemon).await?)
        }
        session::Mode::Service => None,
    };

    let notify = Notify::from_env();
    if stored.is_none() {
        notify.remove_fd(fd_store::NAME);
    }
    let account = token.map(|token| Account { token, slug: None, actor: None });
    let account = account.or_else(|| stored.as_ref().map(|stored| stored.account.clone()));
    let status_file = StatusFile::new(mode, started);
    let runner = EffectRunner::new(config.api_url, config.max_partition_time, identity, host, statistics);
    let alarm = Alarm::new(clock)?;
    let mut daemon = Daemon {
        session,
        runner,
        inbox,
        internet_resource_settings,
        replies: PendingReplies::default(),
        publish,
        clock,
        alarm,
        notify,
        status_file,
        stored,
        mode,
        sources,
    };
    daemon.announce();
    daemon.notify.ready();
    // The session needs the resolvers of the host before it resolves the name of the portal.
    while let Some(input) = daemon.runner.next().now_or_never() {
        daemon.feed(input);
    }
    if let Some(account) = account {
        daemon.feed(DaemonEvent::Start(account).into());
    }
    daemon.run(signals, bus).await
}

/// Removes everything that a daemon may have left on the host.
///
/// # Errors
/// Another daemon runs, or a part could not be removed.
pub async fn clean_up(config: &Config) -> anyhow::Result<()> {
    ensure_no_other_daemon().await?;
    status_file::clean_up();
    let mut host =
        Host::open(host::INTERFACE, config.dns_control, MARK).await.context("open the network of the host")?;
    let applied = host.apply(&HostConfig::default()).await;
    for warning in &applied.warnings {
        tracing::warn!(code = warning.code, remedy = warning.remedy, "{}", warning.text);
    }
    anyhow::ensure!(applied.warnings.is_empty(), "not everything could be removed");
    Ok(())
}

/// Fails while another daemon has a tunnel here, because its configuration would be taken for a leftover. The interface
/// disappears with the process that holds it, but possibly with a delay.
async fn ensure_no_other_daemon() -> anyhow::Result<()> {
    for _ in 0..INTERFACE_CHECKS {
        if nix::net::if_::if_nametoindex(host::INTERFACE).is_err() {
            return Ok(());
        }
        tokio::time::sleep(INTERFACE_CHECK_INTERVAL).await;
    }
    anyhow::bail!("the interface {} exists: another firezoned is running", host::INTERFACE)
}

/// Owns the session.
#[derive(Debug)]
struct Daemon {
    session: Session,
    runner: EffectRunner,
    inbox: mpsc::Receiver<DaemonRequest>,
    /// New values of the setting for the Internet resource.
    internet_resource_settings: mpsc::Receiver<bool>,
    replies: PendingReplies,
    publish: watch::Sender<Snapshot>,
    clock: Clock,
    alarm: Alarm,
    notify: Notify,
    status_file: StatusFile,
    /// The sign-in that the service manager stores.
    stored: Option<SignIn>,
    mode: session::Mode,
    sources: Sources,
}

impl Daemon {
    async fn run(mut self, mut signals: Signals, mut bus: Option<Bus>) -> anyhow::Result<()> {
        let end = tokio::select! {
            biased;
            end = self.run_until_end(&mut signals) => end,
            () = closed(&mut bus) => Err(anyhow::anyhow!("the connection to the system bus is lost")),
        };
        self.notify.stopping();
        tracing::info!("stopping");
        if tokio::time::timeout(STOP_TIMEOUT, self.take_down()).await.is_err() {
            tracing::warn!("not everything was taken down in time");
        }
        if let Some(bus) = bus {
            bus.leave().await;
        }
        self.status_file.remove();
        end
    }

    /// Runs until a signal ends it. Every future here is cancel-safe: each is one receive from a channel, a timer, or a
    /// queue that only moves when it succeeds.
    async fn run_until_end(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
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

    /// Reads the log filter and the token again and rebuilds all connections.
    fn reload(&mut self) {
        self.notify.reloading();
        self.reload_log_filter();
        self.reload_token();
        self.feed(DaemonEvent::Reset.into());
        self.notify.ready();
    }

    fn reload_log_filter(&self) {
        match Config::load(&self.sources.args, std::env::var_os, &ConfigPaths::default()) {
            Ok(config) => self.sources.logs.set_filter(&config.log_filter),
            Err(error) => tracing::warn!("cannot reload the configuration, the log filter stays: {error}"),
        }
    }

    fn reload_token(&mut self) {
        if self.mode == session::Mode::User {
            return;
        }
        match token::find(&self.sources.tokens) {
            Ok(Mode::Service(token)) => {
                self.feed(DaemonEvent::Start(Account { token, slug: None, actor: None }).into());
            }
            Ok(Mode::User) => tracing::warn!("the service token is missing, continuing with the previous one"),
            Err(error) => tracing::warn!("cannot reload the service token, continuing with the previous one: {error}"),
        }
    }

    async fn take_down(&mut self) {
        self.feed(DaemonEvent::Stop.into());
        while !self.session.is_stopped() {
            let input = self.next().await;
            self.feed(input);
        }
    }

    /// The next input of the session. Cancel-safe.
    async fn next(&mut self) -> Input {
        let due = self.session.poll_timeout();
        loop {
            let set = self.alarm.set(due.map(|at| Deadline { at, reason: "session" }), self.clock.now());
            let rang = tokio::select! {
                biased;
                Some(request) = self.inbox.recv() => match request {
                    DaemonRequest::Session(request, reply) => return Input::Request(self.replies.add(reply), request),
                    DaemonRequest::Dns(request) => {
                        self.runner.run_dns_request(request);
                        continue;
                    }
                },
                Some(is_on) = self.internet_resource_settings.recv() => {
                    return Input::Request(self.replies.new_id(), Request::SetInternetResource(is_on));
                }
                input = self.runner.next() => return input,
                rang = self.alarm.rings() => set.and(rang),
            };
            if let Err(error) = rang {
                tracing::warn!(%error, "the timer of the kernel failed");
            }
            // The alarm may have been set for an earlier deadline.
            if due.is_some_and(|at| at <= self.clock.now()) {
                return Input::Timeout;
            }
        }
    }

    /// Passes an input to the session and executes its effects. A result that an effect has at once is the next input.
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
                    Effect::Tunnel(command) => {
                        if let Some(result) = self.runner.run_tunnel_command(command) {
                            debug_assert!(next.is_none(), "one effect per input has an immediate result");
                            next = Some(result);
                        }
                    }
                    Effect::Portal(command) => self.runner.run_portal_command(command),
                    Effect::Host(config) => self.runner.configure_host(config),
                    Effect::Reply(id, reply) => self.replies.send(id, reply),
                }
            }
        }
        self.store_sign_in();
    }

    /// Stores the sign-in with the service manager, for the next process. If that fails now, it is repeated after the next
    /// input.
    fn store_sign_in(&mut self) {
        if self.mode == session::Mode::Service {
            return; // The next process reads the service token itself.
        }
        let internet_resource = self.session.snapshot().internet_resource_active;
        let sign_in = match self.session.account_to_keep() {
            AccountToKeep::Unchanged => return,
            AccountToKeep::None => None,
            AccountToKeep::Account(account) => Some((account, internet_resource)),
        };
        if sign_in == self.stored.as_ref().map(|stored| (&stored.account, stored.internet_resource)) {
            return;
        }
        let sign_in =
            sign_in.map(|(account, internet_resource)| SignIn { account: account.clone(), internet_resource });
        let is_stored = self.notify.remove_fd(fd_store::NAME)
            && sign_in.as_ref().is_none_or(|sign_in| match sign_in.to_memory() {
                Ok(memory) => self.notify.store_fd(fd_store::NAME, memory.as_fd()),
                Err(error) => {
                    tracing::debug!(%error, "cannot store the sign-in, so it does not survive a restart");
                    true
                }
            });
        if is_stored || !self.notify.is_present() {
            self.stored = sign_in;
        }
    }

    /// Updates the status of the service manager and the status file.
    fn announce(&mut self) {
        let snapshot = self.publish.borrow();
        self.notify.status(&status_line::of(&snapshot));
        self.status_file.write(&snapshot);
    }

    /// Logs changes of the state, without private data.
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
