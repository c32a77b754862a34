//! The settings while the daemon runs: returns the current values, and changes the file and the running daemon.
//!
//! A separate task, because file access may be slow. It has no state of its own and reads the files for each request, so
//! that it returns what an administrator has just written.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

use logging::{Filter, LogHandle};

use crate::{
    args::Args,
    config::Config,
    file::ConfigPaths,
    stored::{self, ChangeError},
};

/// Pending requests. Further senders wait.
const REQUEST_QUEUE: usize = 8;
/// Notifications that a slow receiver may leave unread before it gets a lag error.
const NOTIFICATION_QUEUE: usize = 16;

/// A handle of the task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Settings {
    requests: mpsc::Sender<Command>,
    notifications: broadcast::Sender<Vec<String>>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// A setting cannot be changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The configuration is invalid.
    #[error("the configuration makes no sense: {0}")]
    Invalid(String),
}

/// A request to the task.
#[derive(Debug)]
enum Command {
    Get(oneshot::Sender<Result<Config, SettingsError>>),
    Change(BTreeMap<String, Option<String>>, oneshot::Sender<Result<(), SettingsError>>),
    /// Sets a log filter for a limited time; `None` means as configured.
    SetLogFilter(Option<Filter>, Duration),
}

/// The state of the task.
struct Task {
    args: Args,
    places: ConfigPaths,
    logs: Option<LogHandle>,
    internet_resource: mpsc::Sender<bool>,
    notifications: broadcast::Sender<Vec<String>>,
    /// When the configured log filter takes effect again.
    filter_expiry: Option<Instant>,
}

impl Settings {
    /// Starts the task. It ends when the last clone of the handle is dropped. Changes of the log filter are
    /// applied to `logs`, those of the Internet resource are sent to `internet_resource`.
    pub fn start(
        args: Args,
        places: ConfigPaths,
        logs: Option<LogHandle>,
        internet_resource: mpsc::Sender<bool>,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(REQUEST_QUEUE);
        let (notifications, _) = broadcast::channel(NOTIFICATION_QUEUE);
        let task =
            Task { args, places, logs, internet_resource, notifications: notifications.clone(), filter_expiry: None };
        tokio::spawn(task.run(inbox));
        Self { requests, notifications }
    }

    /// Loads the current configuration.
    ///
    /// # Errors
    /// The configuration is invalid, or the daemon is stopping.
    pub async fn get(&self) -> Result<Config, SettingsError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Command::Get(reply)).await.map_err(|_| SettingsError::Stopping)?;
        answer.await.map_err(|_| SettingsError::Stopping)?
    }

    /// Changes all of these settings or none. `None` resets a setting.
    ///
    /// # Errors
    /// A setting cannot be changed or stored, the configuration is invalid, or the daemon is stopping.
    pub async fn change(&self, changes: BTreeMap<String, Option<String>>) -> Result<(), SettingsError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Command::Change(changes, reply)).await.map_err(|_| SettingsError::Stopping)?;
        answer.await.map_err(|_| SettingsError::Stopping)?
    }

    /// Sets a log filter for a limited time; without one, as configured.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub async fn set_log_filter(&self, filter: Option<Filter>, time: Duration) -> Result<(), SettingsError> {
        self.requests.send(Command::SetLogFilter(filter, time)).await.map_err(|_| SettingsError::Stopping)
    }

    /// Notifications with the keys of settings that are changed from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Vec<String>> {
        self.notifications.subscribe()
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return,
                },
                () = until(self.filter_expiry) => self.apply_configured_filter(),
            }
        }
    }

    async fn handle(&mut self, request: Command) {
        // The caller may have gone.
        match request {
            Command::Get(reply) => drop(reply.send(self.load())),
            Command::Change(changes, reply) => drop(reply.send(self.change(&changes).await)),
            Command::SetLogFilter(Some(filter), time) => {
                tracing::info!(seconds = time.as_secs(), "the log filter is overridden for a limited time");
                self.filter_expiry = Some(Instant::now() + time);
                self.apply_filter(&filter);
            }
            Command::SetLogFilter(None, _) => self.apply_configured_filter(),
        }
    }

    fn load(&self) -> Result<Config, SettingsError> {
        Config::load(&self.args, std::env::var_os, &self.places)
            .map_err(|error| SettingsError::Invalid(error.to_string()))
    }

    async fn change(&mut self, changes: &BTreeMap<String, Option<String>>) -> Result<(), SettingsError> {
        let before = self.load()?;
        stored::change(&before, &self.places.stored, changes)?;
        let after = self.load()?;
        if after.internet_resource != before.internet_resource {
            // A daemon that stops does not receive it.
            let _stopped = self.internet_resource.send(after.internet_resource).await;
        }
        if after.log_filter != before.log_filter && self.filter_expiry.is_none() {
            self.apply_filter(&after.log_filter);
        }
        // There may be no receiver.
        drop(self.notifications.send(changes.keys().cloned().collect()));
        Ok(())
    }

    fn apply_configured_filter(&mut self) {
        self.filter_expiry = None;
        match self.load() {
            Ok(config) => self.apply_filter(&config.log_filter),
            Err(error) => tracing::warn!("cannot load the configured log filter: {error}"),
        }
    }

    fn apply_filter(&self, filter: &Filter) {
        if let Some(logs) = &self.logs {
            logs.set_filter(filter);
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
