//! The token: in memory for this session, and in the keyring for the next.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_channel::Sender;
use model::Secret;
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};
use zeroize::Zeroizing;

use super::{Failure, Report};
use crate::model::Whose;

/// A token and whom it signs in.
#[derive(Clone)]
pub struct Kept {
    /// The token.
    pub token: Secret,
    /// The account.
    pub account_slug: Option<String>,
    /// The person.
    pub actor_name: Option<String>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

/// How long the first look at the daemon waits for the keyring, which mostly answers at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Keeps at most one token: in memory at once, in the keyring when that has time. It may ask its owner for a password, or
/// say nothing; only what is about the keyring waits for it. One that fails costs a remark: the session works, but the
/// next start asks again.
#[derive(Debug)]
pub(super) struct Keeper {
    memory: Arc<Mutex<Memory>>,
    /// The keyring does one thing after the other.
    turn: Arc<AsyncMutex<()>>,
    reports: Sender<Report>,
}

#[derive(Debug, Default)]
struct Memory {
    kept: Option<Kept>,
    trial: Trial,
    /// Whether what the keyring had at the start does not count any more.
    is_settled: bool,
}

/// Whether the token is known to be good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Trial {
    #[default]
    Untried,
    /// The daemon has it from us.
    HandedOver,
    /// A session with it has connected.
    Passed,
}

impl Keeper {
    pub(super) fn new(reports: Sender<Report>) -> Self {
        Self { memory: Arc::default(), turn: Arc::default(), reports }
    }

    /// Reads what the keyring has, and reports it. Does not wait for somebody who has to type a password. What it should
    /// have forgotten the last time is not read but forgotten.
    pub(super) async fn load(&self, has_to_forget: bool) {
        if has_to_forget {
            // Nobody should be asked for a password twice.
            return self.forget();
        }
        let (memory, reports) = (Arc::clone(&self.memory), self.reports.clone());
        let reading = self.in_turn(async move {
            let found = read().await.unwrap_or_else(|error| {
                tracing::info!("nothing from the keyring: {error}");
                None
            });
            let whose = {
                let mut memory = lock(&memory);
                if !std::mem::replace(&mut memory.is_settled, true) {
                    memory.kept = found;
                }
                memory.whose()
            };
            let _gone = reports.send(Report::Token(whose)).await;
        });
        let _late = tokio::time::timeout(AT_ONCE, reading).await;
    }

    pub(super) fn whose(&self) -> Option<Whose> {
        lock(&self.memory).whose()
    }

    pub(super) fn token(&self) -> Option<Kept> {
        lock(&self.memory).kept.clone()
    }

    /// Keeps it in place of what there was, for as long as the keyring can.
    pub(super) fn keep(&self, kept: Kept) {
        let for_keyring = for_keyring(&kept);
        *lock(&self.memory) = Memory { kept: Some(kept), trial: Trial::Untried, is_settled: true };
        let job = async move { keyring::Keyring::open().await?.store(&for_keyring).await };
        self.report_failure(job, Failure::NotKept);
    }

    /// The daemon has the token that is kept.
    pub(super) fn is_handed_over(&self) {
        lock(&self.memory).trial = Trial::HandedOver;
    }

    /// The session has connected: if the existing client has kept its token, that is ours from now on.
    pub(super) fn is_connected(&self) {
        let mut memory = lock(&self.memory);
        let Some(kept) = memory.kept.as_ref().filter(|_| memory.trial == Trial::HandedOver).map(for_keyring) else {
            return;
        };
        memory.trial = Trial::Passed;
        self.in_turn(async move {
            let done = match keyring::Keyring::open().await {
                Ok(keyring) => keyring.migrate(&kept).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::info!("what the existing client has kept stays where it is: {error}");
            }
        });
    }

    pub(super) fn forget(&self) {
        *lock(&self.memory) = Memory { is_settled: true, ..Memory::default() };
        let job = async {
            match keyring::Keyring::open().await {
                Ok(keyring) => keyring.delete().await,
                // Where nothing can be kept, nothing has to be forgotten.
                Err(keyring::Error::Unavailable) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.report_failure(job, Failure::NotForgotten);
    }

    fn report_failure(
        &self,
        job: impl Future<Output = Result<(), keyring::Error>> + Send + 'static,
        failure: fn(keyring::Error) -> Failure,
    ) {
        let reports = self.reports.clone();
        self.in_turn(async move {
            if let Err(error) = job.await {
                let _gone = reports.send(Report::Failed(failure(error))).await;
            }
        });
    }

    /// What is begun first is done first.
    fn in_turn(&self, job: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let turn = Arc::clone(&self.turn);
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            job.await;
        })
    }
}

impl Memory {
    fn whose(&self) -> Option<Whose> {
        self.kept.as_ref().map(|kept| Whose { account_slug: kept.account_slug.clone() })
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn for_keyring(kept: &Kept) -> keyring::StoredToken {
    keyring::StoredToken {
        token: Zeroizing::new(kept.token.expose().to_owned()),
        account_slug: kept.account_slug.clone(),
        actor_name: kept.actor_name.clone(),
    }
}

async fn read() -> Result<Option<Kept>, keyring::Error> {
    let kept = keyring::Keyring::open().await?.read().await?;
    Ok(kept.map(|kept| Kept {
        token: Secret::from(kept.token.as_str()),
        account_slug: kept.account_slug,
        actor_name: kept.actor_name,
    }))
}
