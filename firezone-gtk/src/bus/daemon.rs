//! The daemon on one connection to the system bus, for as long as that lasts.

use std::{collections::BTreeMap, fs, io::Write as _, os::fd::OwnedFd, path::Path, time::Duration};

use async_channel::Sender;
use dbus_api::{
    ClientProxy, DiagnosticsProxy, Error, Resource, ResourcesProxy, SettingsProxy, SignInOptions, State, StatusFile,
    resources::Filter, status_file,
};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::{
    Connection,
    proxy::CacheProperties,
    zvariant::{OwnedValue, Value},
};

use super::{
    Failure, Report, Request, examine,
    keeper::{Keeper, Kept},
};
use crate::model::{News, Session};

/// How long an answer may take; the daemon asks polkit, which asks nobody.
const PATIENCE: Duration = Duration::from_secs(25);
/// What fits into a pipe without anybody reading. Tokens are far shorter.
const LONGEST_TOKEN: usize = 60 * 1024;
/// How often to look at what nobody announces, while somebody sees it.
const GLANCE: Duration = Duration::from_secs(5);
/// How many groups of sites are asked about at each glance; there are hardly ever more than a handful.
const MOST_PATHS: usize = 32;
/// The polkit actions without which the app is of no use, as `GetPermissions` names them.
const NEEDED: [&str; 2] = ["sign-in", "sign-out"];

/// Why following ended.
pub(super) enum End {
    /// The app ends.
    Closed,
    /// The bus is gone.
    Lost,
}

struct Daemon<'a> {
    client: ClientProxy<'static>,
    resources: ResourcesProxy<'static>,
    settings: SettingsProxy<'static>,
    diagnostics: DiagnosticsProxy<'static>,
    /// One resource of each group of sites that is in use: what the paths are asked by.
    in_use: BTreeMap<Vec<String>, String>,
    /// Whether this user may use the daemon.
    may_command: bool,
    /// Whether somebody looks at the window.
    is_watched: &'a mut bool,
    reports: &'a Sender<Report>,
    keeper: &'a Keeper,
}

/// Reports all that happens, and does what is asked.
pub(super) async fn follow(
    connection: &Connection,
    inbox: &mut mpsc::Receiver<Request>,
    reports: &Sender<Report>,
    keeper: &Keeper,
    is_watched: &mut bool,
) -> End {
    match try_follow(connection, inbox, reports, keeper, is_watched).await {
        Ok(end) => end,
        Err(error) => {
            tracing::debug!("the bus: {error}");
            End::Lost
        }
    }
}

async fn try_follow(
    connection: &Connection,
    inbox: &mut mpsc::Receiver<Request>,
    reports: &Sender<Report>,
    keeper: &Keeper,
    is_watched: &mut bool,
) -> zbus::Result<End> {
    let client = ClientProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let resources = ResourcesProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    // Listen first, look then: so nothing is missed in between.
    let mut owners = client.inner().receive_owner_changed().await?;
    let mut changes = client.receive_status_changed().await?;
    let mut resource_changes = resources.receive_changed().await?;
    let settings = SettingsProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let diagnostics = DiagnosticsProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let mut setting_changes = settings.receive_changed().await?;
    let mut daemon = Daemon {
        client,
        resources,
        settings,
        diagnostics,
        in_use: BTreeMap::new(),
        may_command: true,
        is_watched,
        reports,
        keeper,
    };
    let mut glance = tokio::time::interval(GLANCE);
    glance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    daemon.look().await;
    // Every future here is cancel-safe: each is one receive.
    loop {
        tokio::select! {
            owner = owners.next() => match owner {
                Some(_) => daemon.look().await,
                None => return Ok(End::Lost),
            },
            change = changes.next() => match change {
                Some(_) => drop(daemon.look_at_session().await),
                None => return Ok(End::Lost),
            },
            change = resource_changes.next() => match change {
                Some(_) => daemon.look_at_resources().await,
                None => return Ok(End::Lost),
            },
            change = setting_changes.next() => match change {
                Some(_) => daemon.look_at_settings().await,
                None => return Ok(End::Lost),
            },
            _ = glance.tick(), if daemon.is_worth_a_glance() => daemon.glance().await,
            request = inbox.recv() => match request {
                Some(request) => daemon.carry_out(request).await,
                None => return Ok(End::Closed),
            },
        }
    }
}

impl Daemon<'_> {
    async fn look(&mut self) {
        // The settings first: they say where to sign in.
        self.look_at_settings().await;
        if self.look_at_session().await {
            self.look_at_resources().await;
        }
    }

    /// Whether it is there.
    async fn look_at_session(&mut self) -> bool {
        match in_time(self.session()).await {
            Ok(session) => {
                let is_connected = session.state == State::Connected;
                self.may_command = session.may_command;
                self.report(Report::News(News::Session(Box::new(session)))).await;
                if is_connected {
                    self.keeper.is_connected();
                }
                true
            }
            Err(_) => {
                self.report(Report::News(look_at_file())).await;
                false
            }
        }
    }

    async fn session(&self) -> Result<Session, Error> {
        let state = self.client.state().await?;
        let reason = self.client.reason().await?;
        let internet_resource_active = self.client.internet_resource_active().await?;
        let permissions = self.client.get_permissions().await.unwrap_or_default();
        let status = self.client.get_status(BTreeMap::new()).await.ok();
        Ok(Session {
            state: State::from(state.as_str()),
            reason,
            internet_resource_active,
            status,
            may_command: NEEDED.iter().all(|action| may(&permissions, action)),
            may_configure: may(&permissions, "configure"),
            may_diagnose: may(&permissions, "diagnose"),
        })
    }

    async fn look_at_resources(&mut self) {
        if let Ok((_generation, list)) = in_time(self.resources.list(Filter::default())).await {
            self.in_use = in_use(&list);
            self.report(Report::News(News::Resources(list))).await;
            if *self.is_watched {
                self.look_at_paths().await;
            }
        }
    }

    async fn look_at_settings(&self) {
        if let Ok(settings) = in_time(self.settings.get()).await {
            self.report(Report::News(News::Settings(settings))).await;
        }
    }

    /// Looks at what nobody announces: paths, which are private and change with every packet, and who is in the group.
    async fn glance(&mut self) {
        if self.may_command {
            self.look_at_paths().await;
        } else {
            self.look().await;
        }
    }

    /// Whether there is such a thing, and somebody sees it.
    fn is_worth_a_glance(&self) -> bool {
        *self.is_watched && (!self.may_command || !self.in_use.is_empty())
    }

    /// How the sites in use are reached. What cannot be told is left out.
    async fn look_at_paths(&self) {
        let mut paths = BTreeMap::new();
        for (sites, resource) in self.in_use.iter().take(MOST_PATHS) {
            if let Ok(path) = in_time(self.diagnostics.path(resource)).await {
                paths.insert(sites.clone(), path.path);
            }
        }
        self.report(Report::News(News::Paths(paths))).await;
    }

    async fn carry_out(&mut self, request: Request) {
        let outcome = match request {
            Request::SignIn(kept) => self.sign_in(*kept).await,
            Request::Connect => self.connect().await,
            Request::SignOut => self.sign_out().await,
            Request::Forget => {
                self.keeper.forget();
                Ok(())
            }
            Request::SetInternet(active) => {
                in_time(self.resources.set_internet_resource(active, BTreeMap::new())).await
            }
            Request::Change(key, value) => self.change(key, value).await,
            Request::Examine => {
                examine::start(Some(self.diagnostics.clone()), self.reports);
                return;
            }
            Request::Collect => match examine::collect(&self.diagnostics).await {
                Ok(text) => {
                    self.report(Report::Collected(text)).await;
                    return;
                }
                Err(failure) => Err(failure),
            },
            Request::Watch(is_watched) => {
                *self.is_watched = is_watched;
                if self.is_worth_a_glance() {
                    self.glance().await;
                }
                return;
            }
            Request::Look => {
                self.look().await;
                return;
            }
        };
        if let Err(failure) = outcome {
            self.report(Report::Failed(failure)).await;
            // What the front end expected does not happen; this is what is.
            self.look_at_settings().await;
            self.look_at_session().await;
        }
        self.report(Report::Token(self.keeper.whose())).await;
    }

    async fn sign_in(&mut self, kept: Kept) -> Result<(), Failure> {
        let outcome = self.hand_over(&kept).await;
        match &outcome {
            Ok(()) => {
                self.keeper.keep(kept);
                self.keeper.is_handed_over();
            }
            // It says nothing about the token that there was nobody to take it: the next daemon gets it.
            Err(Failure::NotRunning | Failure::Other(_)) => self.keeper.keep(kept),
            Err(_) => {}
        }
        outcome
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let kept = self.keeper.token().ok_or(Failure::NoToken)?;
        self.hand_over(&kept).await?;
        self.keeper.is_handed_over();
        Ok(())
    }

    async fn sign_out(&mut self) -> Result<(), Failure> {
        let session = in_time(self.client.sign_out(BTreeMap::new())).await;
        self.keeper.forget();
        session
    }

    async fn hand_over(&self, kept: &Kept) -> Result<(), Failure> {
        let token = pipe(kept.token.expose())?;
        let options = SignInOptions { account_slug: kept.account_slug.clone(), actor_name: kept.actor_name.clone() };
        in_time(self.client.sign_in(token.into(), options)).await
    }

    /// Changes a setting, or makes it as if nobody had changed it here.
    async fn change(&self, key: String, value: Option<String>) -> Result<(), Failure> {
        match value {
            Some(value) => {
                let value = OwnedValue::try_from(Value::from(value)).map_err(|it| Failure::Other(it.to_string()))?;
                in_time(self.settings.set(BTreeMap::from([(key, value)]))).await
            }
            None => in_time(self.settings.reset(vec![key])).await,
        }
    }

    async fn report(&self, report: Report) {
        // Nobody listens any more only when the app ends, and then the inbox is closed too.
        let _gone = self.reports.send(report).await;
    }
}

/// One resource of each group of sites whose gateways are connected: all of a group take the same way.
fn in_use(resources: &[Resource]) -> BTreeMap<Vec<String>, String> {
    let online = resources.iter().filter(|resource| resource.status == "online");
    online.map(|resource| (resource.sites.clone(), resource.id.clone())).collect()
}

/// Whether this user may, without the password of an administrator: nobody who clicks a button here expects to be asked for
/// one, and whoever has it can join the group.
fn may(permissions: &BTreeMap<String, String>, action: &str) -> bool {
    permissions.iter().any(|(name, answer)| {
        (name == action || name.strip_suffix(action).is_some_and(|prefix| prefix.ends_with('.'))) && answer == "yes"
    })
}

/// The read end of a pipe that holds the text.
fn pipe(text: &str) -> Result<OwnedFd, Failure> {
    if text.len() > LONGEST_TOKEN {
        return Err(Failure::TokenRejected);
    }
    let other = |error: std::io::Error| Failure::Other(error.to_string());
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| other(error.into()))?;
    fs::File::from(write).write_all(text.as_bytes()).map_err(other)?;
    Ok(read)
}

pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    let answer = tokio::time::timeout(PATIENCE, call).await;
    answer.map_err(|_| Failure::NotRunning)?.map_err(|error| match error {
        Error::NotAuthorized(_) => Failure::NotPermitted,
        Error::InvalidToken(_) => Failure::TokenRejected,
        Error::InvalidArgs(text) => Failure::Invalid(text),
        Error::Locked(text) => Failure::Locked(text),
        Error::Stopping(_) => Failure::NotRunning,
        Error::ZBus(zbus::Error::MethodError(name, ..))
            if matches!(
                name.as_str(),
                "org.freedesktop.DBus.Error.ServiceUnknown"
                    | "org.freedesktop.DBus.Error.NameHasNoOwner"
                    | "org.freedesktop.DBus.Error.NoReply"
            ) =>
        {
            Failure::NotRunning
        }
        other => Failure::Other(other.to_string()),
    })
}

/// What a daemon that owns no name has left: in service mode a file, otherwise nothing.
pub(super) fn look_at_file() -> News {
    match fs::read(status_file::PATH) {
        Ok(text) => match serde_json::from_slice::<StatusFile>(&text) {
            Ok(file) if file.mode == "service" && Path::new("/proc").join(file.pid.to_string()).exists() => {
                News::Managed(State::from(file.state.as_str()))
            }
            _ => News::Absent,
        },
        // It is there, but not for us: the daemon takes it away when it ends.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            News::Managed(State::Other(String::new()))
        }
        Err(_) => News::Absent,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn permissions_are_read_with_and_without_their_prefix() {
        let of = |name: &str, answer: &str| BTreeMap::from([(name.to_owned(), answer.to_owned())]);
        for (permissions, expected) in [
            (of("sign-in", "yes"), true),
            (of("dev.firezone.Client.sign-in", "yes"), true),
            (of("sign-in", "challenge"), false),
            (of("sign-in", "no"), false),
            (of("never-sign-in", "yes"), false),
            (BTreeMap::new(), false),
        ] {
            assert_eq!(may(&permissions, "sign-in"), expected, "{permissions:?}");
        }
    }

    #[test]
    fn each_group_of_sites_in_use_is_asked_about_once() {
        let resource = |id: &str, site: &str, status: &str| Resource {
            id: id.into(),
            sites: vec![site.into()],
            status: status.into(),
            ..Resource::default()
        };
        let list = [
            resource("1", "Berlin", "online"),
            resource("2", "Berlin", "online"),
            resource("3", "Hamburg", "offline"),
            resource("4", "Lab", "unknown"),
        ];
        assert_eq!(in_use(&list).into_keys().collect::<Vec<_>>(), [["Berlin"]]);
    }

    #[test]
    fn a_token_goes_through_a_pipe_to_its_end() {
        let mut text = String::new();
        fs::File::from(pipe("nonce.fragment").unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "nonce.fragment");
        assert!(pipe(&"x".repeat(LONGEST_TOKEN + 1)).is_err());
    }
}
