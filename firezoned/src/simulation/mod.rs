//! A simulated daemon for work on front ends: `firezoned --sim`.
//!
//! The session and the objects on the bus are the real ones; the results of their effects are simulated. There is no portal,
//! no tunnel and no change of this machine, so it needs no privileges and refuses to run as root.
//!
//! * [`effect_runner`] – simulates the results of effects, without I/O
//! * [`scenario`] – what happens to a session, chosen by a word in the token
//! * [`world`] – the resources of the simulated account and the paths to them

mod effect_runner;
mod scenario;
mod world;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use zbus::{Connection, connection, fdo::DBusProxy};

use self::effect_runner::SimulatedRunner;
use bus::{Bus, DaemonHandle, DaemonRequest, DnsRequest};
use dataplane::statistics::{self, Publisher, Statistics};
use event_loop::Clock;
use resolver::Forwarder;
use session::{DaemonEvent, Effect, Input, Mode, Request, Session, Snapshot, TunnelCommand};
use settings::{Args, Config, Settings, file::ConfigPaths};

use crate::{
    pending_replies::PendingReplies,
    process,
    signals::{Signal, Signals},
};

/// Requests that may wait. Senders of more are suspended.
const MAX_PENDING_REQUESTS: usize = 16;
/// The address of the system bus on every Linux, whatever the environment says.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Runs until a signal ends it.
///
/// # Errors
/// The simulation cannot start, or the bus is lost.
pub fn start(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        !rustix::process::geteuid().is_root(),
        "simulate a daemon: root must not, because a simulation could be mistaken for the real daemon"
    );
    let paths = config_paths()?;
    let config = Config::load(&args, env::var_os, &paths).context("read configuration")?;
    let logs = logging::start(&config.log_filter)?;
    process::runtime()?.block_on(run(args, &config, paths, logs))
}

async fn run(args: Args, config: &Config, paths: ConfigPaths, logs: logging::LogHandle) -> anyhow::Result<()> {
    let signals = Signals::listen().context("listen for signals")?;
    let connection = connect(args.simulation.sim_bus.as_deref()).await?;
    let clock = Clock::new();
    let session = Session::new(Mode::User, config.internet_resource, clock.now());
    let (publish, snapshot) = watch::channel(session.snapshot().clone());
    let (requests, inbox) = mpsc::channel(MAX_PENDING_REQUESTS);
    let (internet_resource, internet_resource_settings) = mpsc::channel(MAX_PENDING_REQUESTS);
    let statistics = Statistics::default();
    let runner = SimulatedRunner::new(args.simulation.sim_resources, args.simulation.sim_calm, clock.now());
    let daemon = DaemonHandle {
        settings: Settings::start(args, paths, Some(logs), internet_resource),
        requests,
        snapshot,
        started: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        clock,
        forwarder: Forwarder::new(0),
        users: bus::UserDatabase::default(),
        statistics: statistics.clone(),
    };
    let bus = Bus::serve_simulated(connection, daemon).await?;
    tracing::warn!("this is a simulation: no connection is made, and nothing on this machine changes");
    let simulation = Simulation {
        session,
        runner,
        inbox,
        internet_resource_settings,
        replies: PendingReplies::default(),
        publish,
        statistics,
        publisher: None,
        clock,
    };
    simulation.run(signals, bus).await
}

/// Connects to a bus that is not the system bus.
async fn connect(address: Option<&str>) -> anyhow::Result<Connection> {
    let builder = match address {
        Some(address) => connection::Builder::address(address).context("parse the bus address")?,
        None => connection::Builder::session().context("find your session bus")?,
    };
    let connection = builder.build().await.context("connect to the bus")?;
    let system_id = match connection::Builder::address(SYSTEM_BUS)?.build().await {
        Ok(system) => Some(bus_id(&system).await?),
        Err(_) => None,
    };
    let id = bus_id(&connection).await.context("identify the bus")?;
    anyhow::ensure!(
        Some(id) != system_id,
        "simulate a daemon: not on the system bus, which is reserved for the real daemon"
    );
    Ok(connection)
}

async fn bus_id(bus: &Connection) -> zbus::Result<String> {
    Ok(DBusProxy::new(bus).await?.get_id().await?.to_string())
}

/// The files of the simulation, separate from those of the machine.
fn config_paths() -> anyhow::Result<ConfigPaths> {
    let directory = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = directory("XDG_RUNTIME_DIR").or_else(|| Some(env::home_dir()?.join(".cache")));
    let own = parent.context("find a directory for settings: HOME is not set")?.join("firezoned-sim");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&own).context("create the directory for settings")?;
    Ok(ConfigPaths {
        main: own.join("firezoned.toml"),
        drop_ins: own.join("firezoned.toml.d"),
        stored: own.join("settings.toml"),
        imported: own.join("advanced_settings.json"),
        owner: rustix::process::geteuid().as_raw(),
    })
}

/// The loop, like that of the daemon.
#[derive(Debug)]
struct Simulation {
    session: Session,
    runner: SimulatedRunner,
    inbox: mpsc::Receiver<DaemonRequest>,
    internet_resource_settings: mpsc::Receiver<bool>,
    replies: PendingReplies,
    publish: watch::Sender<Snapshot>,
    statistics: Statistics,
    /// Publishes the statistics while a tunnel is open.
    publisher: Option<Publisher>,
    clock: Clock,
}

impl Simulation {
    async fn run(mut self, mut signals: Signals, mut bus: Bus) -> anyhow::Result<()> {
        loop {
            let publication = self.publisher.as_ref().and_then(Publisher::poll_timeout).map(|deadline| deadline.at);
            let due = earliest(earliest(self.session.poll_timeout(), self.runner.poll_timeout()), publication);
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.feed(DaemonEvent::Reset.into()),
                },
                Some(request) = self.inbox.recv() => self.handle_request(request),
                Some(is_on) = self.internet_resource_settings.recv() => {
                    let id = self.replies.new_id();
                    self.feed(Input::Request(id, Request::SetInternetResource(is_on)));
                }
                () = bus.closed() => anyhow::bail!("the connection to the bus is lost"),
                () = requested(self.publisher.as_ref()) => self.handle_statistics_request(),
                () = until(due, self.clock) => self.handle_timeout(),
            }
        }
        bus.leave().await;
        Ok(())
    }

    fn handle_request(&mut self, request: DaemonRequest) {
        match request {
            DaemonRequest::Session(request, reply) => {
                let id = self.replies.add(reply);
                self.feed(Input::Request(id, request));
            }
            DaemonRequest::Dns(DnsRequest::Flush(reply) | DnsRequest::Reapply(reply)) => {
                // The caller may be gone.
                let _gone = reply.send(());
            }
            // No packet thread answers these, as without a tunnel.
            DaemonRequest::Dns(DnsRequest::GetStatus(_) | DnsRequest::Explain(..)) => {}
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.clock.now();
        if let Some(publisher) = &mut self.publisher {
            let current = || statistics::Snapshot { paths: self.runner.paths(now), dropped: BTreeMap::new() };
            publisher.handle_timeout(now, current);
        }
        self.session.handle_timeout(now);
        self.run_effects(now);
        while let Some(input) = self.runner.poll_input(now) {
            self.feed(input);
        }
    }

    fn handle_statistics_request(&mut self) {
        let now = self.clock.now();
        if let Some(publisher) = &mut self.publisher {
            publisher.handle_request(now);
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.clock.now();
        self.session.handle(input, now);
        self.run_effects(now);
    }

    fn run_effects(&mut self, now: Instant) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Publish(snapshot) => {
                    tracing::info!(state = %snapshot.state, reason = snapshot.reason_code(), "session");
                    self.publish.send_replace(*snapshot);
                }
                Effect::Reply(id, reply) => self.replies.send(id, reply),
                effect => {
                    if matches!(effect, Effect::Tunnel(TunnelCommand::Open(_))) {
                        self.publisher = Some(self.statistics.publisher());
                    } else if matches!(effect, Effect::Tunnel(TunnelCommand::Close)) {
                        self.publisher = None;
                    }
                    self.runner.run(effect, now);
                }
            }
        }
    }
}

/// Completes when a reader needs statistics; never without a tunnel.
async fn requested(publisher: Option<&Publisher>) {
    match publisher {
        Some(publisher) => publisher.requested().await,
        None => std::future::pending().await,
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

async fn until(due: Option<Instant>, clock: Clock) {
    match due {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(clock.now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dbus_api::State;

    use super::*;
    use session::{Account, RequestId};

    struct Stage {
        session: Session,
        runner: SimulatedRunner,
        now: Instant,
        seen: Vec<State>,
    }

    impl Stage {
        fn new(calm: bool) -> Self {
            let now = Instant::now();
            let session = Session::new(Mode::User, false, now);
            Self { session, runner: SimulatedRunner::new(12, calm, now), now, seen: Vec::new() }
        }

        fn feed(&mut self, input: Input) {
            self.session.handle(input, self.now);
            while let Some(effect) = self.session.poll_effect() {
                if let Effect::Publish(snapshot) = &effect {
                    self.seen.push(snapshot.state.clone());
                    self.seen.dedup();
                }
                self.runner.run(effect, self.now);
            }
        }

        fn sign_in(&mut self, token: &str) {
            let account = Account { token: token.into(), slug: None, actor: None };
            self.feed(Input::Request(RequestId(0), Request::SignIn { account, uid: 1000 }));
        }

        fn advance(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(at) =
                earliest(self.session.poll_timeout(), self.runner.poll_timeout()).filter(|at| *at <= end)
            {
                self.now = at.max(self.now);
                self.session.handle_timeout(self.now);
                while let Some(effect) = self.session.poll_effect() {
                    self.runner.run(effect, self.now);
                }
                while let Some(input) = self.runner.poll_input(self.now) {
                    self.feed(input);
                }
            }
            self.now = end;
        }
    }

    #[test]
    fn any_token_connects_with_a_simulation_warning() {
        let mut stage = Stage::new(true);
        stage.sign_in("whatever");
        stage.advance(Duration::from_secs(10));
        let snapshot = stage.session.snapshot();
        assert_eq!((snapshot.state.clone(), snapshot.resources.len()), (State::Connected, 12));
        assert!(snapshot.warnings.iter().any(|warning| warning.code == dbus_api::WarningCode::Simulation));
        let before = stage.seen.len();
        stage.advance(Duration::from_secs(3600));
        assert_eq!(stage.seen.len(), before, "nothing happens unasked");

        stage.feed(Input::Request(RequestId(0), Request::SignOut { uid: 1000 }));
        stage.advance(Duration::from_secs(10));
        assert_eq!(stage.session.snapshot().state, State::SignedOut);
    }

    #[test]
    fn words_in_the_token_lead_to_each_phase() {
        use dbus_api::{ConnectionProblem as Problem, NetworkProblem, Phase, Reason, SignOutCause};
        for (token, expected) in [
            ("whatever", Phase::Connected),
            ("expired", Phase::SignedOut(Some(SignOutCause::TokenExpired))),
            ("invalid", Phase::SignedOut(Some(SignOutCause::InvalidToken))),
            ("revoked", Phase::SignedOut(Some(SignOutCause::TokenExpired))),
            ("unreachable", Phase::Connecting(Some(Problem::PortalUnreachable))),
            ("untrusted", Phase::Connecting(Some(Problem::PortalTls))),
            ("lost", Phase::Reconnecting(Some(Problem::PortalUnreachable))),
            ("intercepted", Phase::Reconnecting(Some(Problem::PortalTls))),
            ("offline", Phase::WaitingForNetwork(NetworkProblem::NoNetwork)),
            ("captive", Phase::WaitingForNetwork(NetworkProblem::CaptivePortal)),
            ("suspended", Phase::WaitingForNetwork(NetworkProblem::Suspended)),
            ("busy", Phase::Connecting(Some(Problem::TunBusy))),
        ] {
            let mut stage = Stage::new(true);
            stage.sign_in(token);
            stage.advance(Duration::from_secs(10));
            let published = |snapshot: &Snapshot| {
                let reason = Some(snapshot.reason_code()).filter(|code| !code.is_empty()).map(Reason::from);
                Phase::new(&snapshot.state, reason.as_ref())
            };
            assert_eq!(published(stage.session.snapshot()), expected, "{token}");

            // The next session does not inherit anything.
            stage.sign_in("whatever");
            stage.advance(Duration::from_secs(10));
            assert_eq!(published(stage.session.snapshot()), Phase::Connected, "after {token}");
        }
    }

    #[test]
    fn running_simulation_enters_and_leaves_every_state() {
        let mut stage = Stage::new(false);
        stage.sign_in("whatever");
        stage.advance(Duration::from_secs(30 * 60));
        for state in [State::Connecting, State::Connected, State::Reconnecting, State::WaitingForNetwork] {
            assert!(stage.seen.contains(&state), "{state}");
        }
        assert!(stage.seen.iter().filter(|state| **state == State::Connected).count() > 5);
    }
}
