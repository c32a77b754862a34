//! The settings while the daemon runs: who asks gets what is the case, who changes one changes the file and what follows.
//!
//! A task of its own, because files may take their time. It knows nothing that is not in the files or typed, so each
//! question reads them anew: what an administrator has just written is what is shown.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

use logging::{Filter, Logs};
use session::{Reply, Request};

use crate::{
    args::Args,
    config::Config,
    file::ConfigPaths,
    setting::Change,
    stored::{self, Unchangeable},
};

/// How many questions may wait. More wait at their senders.
const QUESTIONS: usize = 8;
/// How many announcements a slow listener may miss before it is told that there were too many.
const NEWS: usize = 16;

/// The way to the settings. Cloneable, and owns nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    questions: mpsc::Sender<Question>,
    news: broadcast::Sender<Vec<String>>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
    /// It cannot be changed.
    #[error(transparent)]
    Unchangeable(#[from] Unchangeable),
    /// What the files say makes no sense.
    #[error("the configuration makes no sense: {0}")]
    Invalid(String),
}

/// What can be asked.
#[derive(Debug)]
enum Question {
    Get(oneshot::Sender<Result<Config, Refused>>),
    Change(BTreeMap<String, Option<String>>, oneshot::Sender<Result<(), Refused>>),
    /// Log by this filter for so long; `None` means as configured.
    Log(Option<Filter>, Duration),
}

/// What the task owns.
struct Keeper {
    args: Args,
    places: ConfigPaths,
    logs: Option<Logs>,
    session: mpsc::Sender<Request>,
    news: broadcast::Sender<Vec<String>>,
    /// When to log as configured again.
    log_until: Option<Instant>,
}

impl Settings {
    /// Starts the task. It ends with the last clone of the result. `logs` and `session` are told what changes at once.
    pub fn start(args: Args, places: ConfigPaths, logs: Option<Logs>, session: mpsc::Sender<Request>) -> Self {
        let (questions, inbox) = mpsc::channel(QUESTIONS);
        let (news, _) = broadcast::channel(NEWS);
        let keeper = Keeper { args, places, logs, session, news: news.clone(), log_until: None };
        tokio::spawn(keeper.run(inbox));
        Self { questions, news }
    }

    /// What is the case.
    pub async fn get(&self) -> Result<Config, Refused> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question::Get(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Changes settings, all of these or none. `None` makes one as if nobody had changed it.
    pub async fn change(&self, changes: BTreeMap<String, Option<String>>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question::Change(changes, reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Logs by this filter for a while; without one, as configured.
    pub async fn log(&self, filter: Option<Filter>, time: Duration) -> Result<(), Refused> {
        self.questions.send(Question::Log(filter, time)).await.map_err(|_| Refused::Stopping)
    }

    /// The keys of what is changed from now on.
    pub fn news(&self) -> broadcast::Receiver<Vec<String>> {
        self.news.subscribe()
    }
}

impl Keeper {
    async fn run(mut self, mut inbox: mpsc::Receiver<Question>) {
        loop {
            tokio::select! {
                question = inbox.recv() => match question {
                    Some(question) => self.answer(question).await,
                    None => return,
                },
                () = until(self.log_until) => self.log_as_configured(),
            }
        }
    }

    async fn answer(&mut self, question: Question) {
        // Whoever asked may have gone.
        match question {
            Question::Get(reply) => drop(reply.send(self.load())),
            Question::Change(changes, reply) => drop(reply.send(self.change(&changes).await)),
            Question::Log(Some(filter), time) => {
                tracing::info!(seconds = time.as_secs(), "logging by another filter for a while");
                self.log_until = Some(Instant::now() + time);
                self.log(&filter);
            }
            Question::Log(None, _) => self.log_as_configured(),
        }
    }

    fn load(&self) -> Result<Config, Refused> {
        Config::load(&self.args, std::env::var_os, &self.places).map_err(|error| Refused::Invalid(error.to_string()))
    }

    async fn change(&mut self, changes: &BTreeMap<String, Option<String>>) -> Result<(), Refused> {
        let before = self.load()?;
        stored::change(&before, &self.places.stored, changes)?;
        let after = self.load()?;
        if after.internet_resource != before.internet_resource {
            let (reply, _answer) = Reply::new();
            // A daemon that ends has no use for it any more.
            drop(self.session.send(Request::SetInternetResource(after.internet_resource, reply)).await);
        }
        if after.log_filter != before.log_filter && self.log_until.is_none() {
            self.log(&after.log_filter);
        }
        // Nobody may be listening.
        drop(self.news.send(changes.keys().cloned().collect()));
        Ok(())
    }

    fn log_as_configured(&mut self) {
        self.log_until = None;
        match self.load() {
            Ok(config) => self.log(&config.log_filter),
            Err(error) => tracing::warn!("cannot find out what to log: {error}"),
        }
    }

    fn log(&self, filter: &Filter) {
        if let Some(logs) = &self.logs {
            logs.set(filter);
        }
    }
}

/// When a change counts, in the word of the bus.
#[must_use]
pub fn word(change: Change) -> &'static str {
    match change {
        Change::Never => "never",
        Change::NextStart => "next-start",
        Change::AtOnce => "at-once",
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
