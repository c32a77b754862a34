//! The daemon on one connection to the system bus, for as long as the connection lasts.

use std::{collections::BTreeMap, time::Duration};

use async_channel::Sender;
use dbus_api::{
    ClientProxy, DiagnosticsProxy, Error, Permission, Phase, Resource, ResourceStatus, ResourcesProxy, SettingsProxy,
    SignInOptions, resources::Filter,
};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::{
    Connection,
    proxy::CacheProperties,
    zvariant::{OwnedValue, Value},
};

use super::{
    call::{collect_report, phase, read_status_file, token_pipe, with_timeout},
    diagnostics,
    message::{Event, Failure, Request, StoredToken},
    token_store::TokenStore,
};
use crate::model::{Session, Update};

/// How often to read what no signal announces, while the window is visible.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How many groups of sites to query the path of in one poll. Few accounts have more than a handful.
const MAX_PATH_QUERIES: usize = 32;
/// The polkit actions that the app needs, as `GetPermissions` names them.
const REQUIRED_ACTIONS: [&str; 2] = ["sign-in", "sign-out"];

/// Why [`follow`] returned.
pub(super) enum End {
    /// The app ends.
    AppClosed,
    /// The connection to the bus is lost.
    BusLost,
}

struct Daemon<'a> {
    client: ClientProxy<'static>,
    resources: ResourcesProxy<'static>,
    settings: SettingsProxy<'static>,
    diagnostics: DiagnosticsProxy<'static>,
    /// One online resource for each group of sites: the one whose path is queried.
    path_queries: BTreeMap<Vec<String>, String>,
    /// Whether this user may use the daemon.
    may_command: bool,
    /// Whether the window is visible.
    is_watched: &'a mut bool,
    events: &'a Sender<Event>,
    tokens: &'a TokenStore,
}

/// Sends an event for each change, and carries out requests.
pub(super) async fn follow(
    connection: &Connection,
    inbox: &mut mpsc::Receiver<Request>,
    events: &Sender<Event>,
    tokens: &TokenStore,
    is_watched: &mut bool,
) -> End {
    match try_follow(connection, inbox, events, tokens, is_watched).await {
        Ok(end) => end,
        Err(error) => {
            tracing::debug!("the connection to the bus failed: {error}");
            End::BusLost
        }
    }
}

async fn try_follow(
    connection: &Connection,
    inbox: &mut mpsc::Receiver<Request>,
    events: &Sender<Event>,
    tokens: &TokenStore,
    is_watched: &mut bool,
) -> zbus::Result<End> {
    let client = ClientProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let resources = ResourcesProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    // Subscribe before reading, so that no change in between is missed.
    let mut owner_changes = client.inner().receive_owner_changed().await?;
    let mut status_changes = client.receive_status_changed().await?;
    let mut resource_changes = resources.receive_changed().await?;
    let settings = SettingsProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let diagnostics = DiagnosticsProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let mut setting_changes = settings.receive_changed().await?;
    let mut daemon = Daemon {
        client,
        resources,
        settings,
        diagnostics,
        path_queries: BTreeMap::new(),
        may_command: true,
        is_watched,
        events,
        tokens,
    };
    let mut poll = tokio::time::interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    daemon.refresh().await;
    // Every future here is cancel-safe: each is one receive.
    loop {
        tokio::select! {
            owner = owner_changes.next() => match owner {
                Some(_) => daemon.refresh().await,
                None => return Ok(End::BusLost),
            },
            change = status_changes.next() => match change {
                Some(_) => drop(daemon.refresh_session().await),
                None => return Ok(End::BusLost),
            },
            change = resource_changes.next() => match change {
                Some(_) => daemon.refresh_resources().await,
                None => return Ok(End::BusLost),
            },
            change = setting_changes.next() => match change {
                Some(_) => daemon.refresh_settings().await,
                None => return Ok(End::BusLost),
            },
            _ = poll.tick(), if daemon.needs_polling() => daemon.poll().await,
            request = inbox.recv() => match request {
                Some(request) => daemon.carry_out(request).await,
                None => return Ok(End::AppClosed),
            },
        }
    }
}

impl Daemon<'_> {
    async fn refresh(&mut self) {
        // The settings first: they contain the sign-in URL.
        self.refresh_settings().await;
        if self.refresh_session().await {
            self.refresh_resources().await;
        }
    }

    /// Returns whether the daemon is running.
    async fn refresh_session(&mut self) -> bool {
        match with_timeout(self.session()).await {
            Ok(session) => {
                let is_connected = session.phase == Phase::Connected;
                self.may_command = session.may_command;
                self.send(Event::Update(Update::Session(Box::new(session)))).await;
                if is_connected {
                    self.tokens.session_connected();
                }
                true
            }
            Err(_) => {
                self.send(Event::Update(read_status_file())).await;
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
            phase: phase(&state, &reason),
            internet_resource_active,
            status,
            may_command: REQUIRED_ACTIONS.iter().all(|action| may(&permissions, action)),
            may_configure: may(&permissions, "configure"),
            may_diagnose: may(&permissions, "diagnose"),
        })
    }

    async fn refresh_resources(&mut self) {
        if let Ok((_generation, list)) = with_timeout(self.resources.list(Filter::default())).await {
            self.path_queries = path_queries(&list);
            self.send(Event::Update(Update::Resources(list))).await;
            if *self.is_watched {
                self.refresh_paths().await;
            }
        }
    }

    async fn refresh_settings(&self) {
        if let Ok(settings) = with_timeout(self.settings.get()).await {
            self.send(Event::Update(Update::Settings(settings))).await;
        }
    }

    /// Reads what no signal announces: paths, which are private and change often, and this user's permissions.
    async fn poll(&mut self) {
        if self.may_command {
            self.refresh_paths().await;
        } else {
            self.refresh().await;
        }
    }

    fn needs_polling(&self) -> bool {
        *self.is_watched && (!self.may_command || !self.path_queries.is_empty())
    }

    /// Queries the path of each group of sites. Failed queries are left out.
    async fn refresh_paths(&self) {
        let mut paths = BTreeMap::new();
        for (sites, resource) in self.path_queries.iter().take(MAX_PATH_QUERIES) {
            if let Ok(path) = with_timeout(self.diagnostics.path(resource)).await {
                paths.insert(sites.clone(), path.path);
            }
        }
        self.send(Event::Update(Update::Paths(paths))).await;
    }

    async fn carry_out(&mut self, request: Request) {
        let outcome = match request {
            Request::SignIn(token) => self.sign_in(*token).await,
            Request::Connect => self.connect().await,
            Request::SignOut => self.sign_out().await,
            Request::ForgetToken => {
                self.tokens.delete();
                Ok(())
            }
            Request::SetInternetResource(active) => {
                with_timeout(self.resources.set_internet_resource(active, BTreeMap::new())).await
            }
            Request::ChangeSetting(key, value) => self.change_setting(key, value).await,
            Request::RunChecks => {
                diagnostics::start(Some(self.diagnostics.clone()), self.events);
                return;
            }
            Request::CollectReport => match collect_report(&self.diagnostics).await {
                Ok(text) => {
                    self.send(Event::ReportCollected(text)).await;
                    return;
                }
                Err(failure) => Err(failure),
            },
            Request::WatchPaths(is_visible) => {
                *self.is_watched = is_visible;
                if self.needs_polling() {
                    self.poll().await;
                }
                return;
            }
            Request::Refresh => {
                self.refresh().await;
                return;
            }
        };
        if let Err(failure) = outcome {
            self.send(Event::Failed(failure)).await;
            // The widgets already show the requested state; show the actual one again.
            self.refresh_settings().await;
            self.refresh_session().await;
        }
        self.send(Event::Token(self.tokens.owner())).await;
    }

    async fn sign_in(&mut self, token: StoredToken) -> Result<(), Failure> {
        let outcome = self.hand_over(&token).await;
        match &outcome {
            Ok(()) => {
                self.tokens.store(token);
                self.tokens.handed_over();
            }
            // A missing daemon says nothing about the token: the next daemon gets it.
            Err(Failure::NotRunning | Failure::Other(_)) => self.tokens.store(token),
            Err(_) => {}
        }
        outcome
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let token = self.tokens.token().ok_or(Failure::NoToken)?;
        self.hand_over(&token).await?;
        self.tokens.handed_over();
        Ok(())
    }

    async fn sign_out(&mut self) -> Result<(), Failure> {
        let outcome = with_timeout(self.client.sign_out(BTreeMap::new())).await;
        self.tokens.delete();
        outcome
    }

    async fn hand_over(&self, token: &StoredToken) -> Result<(), Failure> {
        let pipe = token_pipe(token.token.expose())?;
        let options = SignInOptions { account_slug: token.account_slug.clone(), actor_name: token.actor_name.clone() };
        with_timeout(self.client.sign_in(pipe.into(), options)).await
    }

    /// Changes a setting, or resets it to its default.
    async fn change_setting(&self, key: String, value: Option<String>) -> Result<(), Failure> {
        match value {
            Some(value) => {
                let value = OwnedValue::try_from(Value::from(value)).map_err(|it| Failure::Other(it.to_string()))?;
                with_timeout(self.settings.set(BTreeMap::from([(key, value)]))).await
            }
            None => with_timeout(self.settings.reset(vec![key])).await,
        }
    }

    async fn send(&self, event: Event) {
        // The receiver is gone only when the app ends; then the inbox is closed too.
        let _closed = self.events.send(event).await;
    }
}

/// One online resource for each group of sites: all resources of a group share a gateway connection.
fn path_queries(resources: &[Resource]) -> BTreeMap<Vec<String>, String> {
    let online = resources.iter().filter(|resource| resource.status == ResourceStatus::Online);
    online.map(|resource| (resource.sites.clone(), resource.id.clone())).collect()
}

/// Whether polkit allows this without a password. `challenge` is not enough: a button must not unexpectedly ask for an
/// administrator's password, and an administrator can join the group instead.
fn may(permissions: &BTreeMap<String, Permission>, action: &str) -> bool {
    permissions.iter().any(|(name, answer)| {
        (name == action || name.strip_suffix(action).is_some_and(|prefix| prefix.ends_with('.')))
            && *answer == Permission::Yes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_with_and_without_prefix() {
        let of = |name: &str, answer: &str| BTreeMap::from([(name.to_owned(), answer.into())]);
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
    fn one_resource_per_online_group_of_sites_is_queried() {
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
        assert_eq!(path_queries(&list).into_keys().collect::<Vec<_>>(), [["Berlin"]]);
    }
}
