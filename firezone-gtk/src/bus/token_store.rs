//! The token: in memory for this session, and in the keyring for the next one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_channel::Sender;
use model::Secret;
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};
use zeroize::Zeroizing;

use super::message::{Event, Failure, StoredToken};
use crate::model::TokenOwner;

/// How long the first request to the daemon waits for the keyring, which usually answers at once.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Stores at most one token: in memory immediately, in the keyring as soon as that answers. The keyring may prompt the
/// user or hang; only keyring operations wait for it. If it fails, the session works, but the token is lost when the app
/// ends.
#[derive(Debug)]
pub(super) struct TokenStore {
    memory: Arc<Mutex<Memory>>,
    /// Held during a keyring operation, so that they run in order.
    keyring_lock: Arc<AsyncMutex<()>>,
    events: Sender<Event>,
}

#[derive(Debug, Default)]
struct Memory {
    stored: Option<StoredToken>,
    progress: Progress,
    /// Whether a token that the keyring still has to return is ignored, because a newer decision was made.
    ignores_keyring: bool,
}

/// Whether the stored token has been used successfully.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Progress {
    #[default]
    Unused,
    /// The daemon has received it from us.
    HandedOver,
    /// A session with it has connected.
    Connected,
}

impl TokenStore {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { memory: Arc::default(), keyring_lock: Arc::default(), events }
    }

    /// Reads the token from the keyring, and sends an event about it. Does not wait for a password prompt. With
    /// `must_delete_token` the token is deleted instead.
    pub(super) async fn load(&self, must_delete_token: bool) {
        if must_delete_token {
            // Deleting and reading would prompt for the password twice.
            return self.delete();
        }
        let (memory, events) = (Arc::clone(&self.memory), self.events.clone());
        let reading = self.in_order(async move {
            let found = read().await.unwrap_or_else(|error| {
                tracing::info!("cannot read the token from the keyring: {error}");
                None
            });
            let owner = {
                let mut memory = lock(&memory);
                if !std::mem::replace(&mut memory.ignores_keyring, true) {
                    memory.stored = found;
                }
                memory.owner()
            };
            let _closed = events.send(Event::Token(owner)).await;
        });
        let _still_reading = tokio::time::timeout(LOAD_TIMEOUT, reading).await;
    }

    pub(super) fn owner(&self) -> Option<TokenOwner> {
        lock(&self.memory).owner()
    }

    pub(super) fn token(&self) -> Option<StoredToken> {
        lock(&self.memory).stored.clone()
    }

    /// Stores a token in place of the previous one.
    pub(super) fn store(&self, token: StoredToken) {
        let for_keyring = for_keyring(&token);
        *lock(&self.memory) = Memory { stored: Some(token), progress: Progress::Unused, ignores_keyring: true };
        let job = async move { keyring::Keyring::open().await?.store(&for_keyring).await };
        self.spawn_reporting(job, Failure::TokenNotStored);
    }

    /// The daemon has received the stored token.
    pub(super) fn handed_over(&self) {
        lock(&self.memory).progress = Progress::HandedOver;
    }

    /// The session has connected. If its token is the official client's, our own item replaces it.
    pub(super) fn session_connected(&self) {
        let mut memory = lock(&self.memory);
        let handed_over = memory.stored.as_ref().filter(|_| memory.progress == Progress::HandedOver);
        let Some(token) = handed_over.map(for_keyring) else { return };
        memory.progress = Progress::Connected;
        self.in_order(async move {
            let outcome = match keyring::Keyring::open().await {
                Ok(keyring) => keyring.migrate(&token).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::info!("cannot migrate the official client's token: {error}");
            }
        });
    }

    pub(super) fn delete(&self) {
        *lock(&self.memory) = Memory { ignores_keyring: true, ..Memory::default() };
        let job = async {
            match keyring::Keyring::open().await {
                Ok(keyring) => keyring.delete().await,
                // Without a keyring there is nothing to delete.
                Err(keyring::Error::Unavailable) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.spawn_reporting(job, Failure::TokenNotDeleted);
    }

    fn spawn_reporting(
        &self,
        job: impl Future<Output = Result<(), keyring::Error>> + Send + 'static,
        failure: fn(keyring::Error) -> Failure,
    ) {
        let events = self.events.clone();
        self.in_order(async move {
            if let Err(error) = job.await {
                let _closed = events.send(Event::Failed(failure(error))).await;
            }
        });
    }

    /// Runs keyring operations one after the other, in the order of the calls.
    fn in_order(&self, job: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let keyring_lock = Arc::clone(&self.keyring_lock);
        tokio::spawn(async move {
            let _guard = keyring_lock.lock().await;
            job.await;
        })
    }
}

impl Memory {
    fn owner(&self) -> Option<TokenOwner> {
        self.stored.as_ref().map(|stored| TokenOwner { account_slug: stored.account_slug.clone() })
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn for_keyring(token: &StoredToken) -> keyring::StoredToken {
    keyring::StoredToken {
        token: Zeroizing::new(token.token.expose().to_owned()),
        account_slug: token.account_slug.clone(),
        actor_name: token.actor_name.clone(),
    }
}

async fn read() -> Result<Option<StoredToken>, keyring::Error> {
    let stored = keyring::Keyring::open().await?.read().await?;
    Ok(stored.map(|stored| StoredToken {
        token: Secret::from(stored.token.as_str()),
        account_slug: stored.account_slug,
        actor_name: stored.actor_name,
    }))
}
