//! The user's token in the desktop's keyring, shared by the desktop app and the command line.
//!
//! The keyring is the Secret Service provider on the session bus. It may be missing or locked, and its prompt may be
//! dismissed. None of that prevents signing in, so callers report errors of this crate and continue.
//!
//! The token that the official client has stored is found too ([`official_client`]), so that users need not sign in
//! again. It stays in place until [`Keyring::delete`], or until a front end has connected with it and calls
//! [`Keyring::migrate`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod official_client;
mod stored_token;

use std::{collections::HashMap, time::Duration};

use secret_service::{EncryptionType, Item, SecretService};
use zbus::Connection;
use zeroize::Zeroizing;

pub use error::Error;
pub use stored_token::StoredToken;

/// The attributes of our item. Attributes are not encrypted, so they contain nothing else.
const ATTRIBUTES: [(&str, &str); 2] = [("xdg:schema", "dev.firezone.Token"), ("application", "dev.firezone.Client")];
const LABEL: &str = "Firezone";
/// The label that desktops give the default collection.
const COLLECTION_LABEL: &str = "Login";
const DEFAULT_COLLECTION: &str = "default";
const CONTENT_TYPE: &str = "application/json";

/// Timeout of a call that prompts no user.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a call that may prompt the user to unlock the keyring.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// The keyring of the user who runs this process.
pub struct Keyring {
    service: SecretService<'static>,
}

impl Keyring {
    /// Connects to the Secret Service on the user's session bus.
    ///
    /// # Errors
    ///
    /// There is no session bus, or no program provides the Secret Service on it.
    pub async fn open() -> Result<Self, Error> {
        let bus = tokio::time::timeout(SERVICE_TIMEOUT, Connection::session()).await.map_err(|_| Error::Timeout)?;
        Self::on_bus(bus.map_err(|_| Error::Unavailable)?).await
    }

    /// Connects to the Secret Service on this bus. Secrets are encrypted in transit.
    ///
    /// # Errors
    ///
    /// No program provides the Secret Service on this bus.
    pub async fn on_bus(bus: Connection) -> Result<Self, Error> {
        let service =
            with_timeout(SERVICE_TIMEOUT, SecretService::connect_with_existing(EncryptionType::Dh, bus)).await?;
        Ok(Self { service })
    }

    /// Reads the stored token: our own, or else the official client's. May prompt the user to unlock the keyring.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user does not unlock the keyring. An unreadable token is treated as absent.
    pub async fn read(&self) -> Result<Option<StoredToken>, Error> {
        for item in &self.own_items().await? {
            if let Some(stored) = StoredToken::from_secret(&self.read_secret(item).await?) {
                return Ok(Some(stored));
            }
        }
        let Some(actor) = official_client::actor() else { return Ok(None) };
        for item in &self.official_items().await? {
            if let Some(stored) = official_client::stored(&self.read_secret(item).await?, &actor) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// Stores the token and replaces an earlier one. May prompt the user to unlock or to create the keyring.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user dismisses the prompt.
    pub async fn store(&self, stored: &StoredToken) -> Result<(), Error> {
        let secret = stored.to_secret();
        with_timeout(PROMPT_TIMEOUT, async {
            let collection = match self.service.get_default_collection().await {
                // The default collection does not exist before the first secret is stored.
                Err(secret_service::Error::NoResult) => {
                    self.service.create_collection(COLLECTION_LABEL, DEFAULT_COLLECTION).await?
                }
                found => found?,
            };
            if collection.is_locked().await? {
                collection.unlock().await?;
            }
            collection.create_item(LABEL, HashMap::from(ATTRIBUTES), &secret, true, CONTENT_TYPE).await?;
            Ok(())
        })
        .await
    }

    /// Replaces the official client's token with this one, after a session with it has connected. Keeps our own token
    /// if there is one already.
    ///
    /// # Errors
    ///
    /// As for [`Self::store`]; then nothing is deleted.
    pub async fn migrate(&self, stored: &StoredToken) -> Result<(), Error> {
        let items = self.official_items().await?;
        if items.is_empty() {
            return Ok(());
        }
        if self.own_items().await?.is_empty() {
            self.store(stored).await?;
        }
        self.delete_items(items).await
    }

    /// Deletes our token and the official client's.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user does not unlock the keyring.
    pub async fn delete(&self) -> Result<(), Error> {
        self.delete_items(self.own_items().await?).await?;
        self.delete_items(self.official_items().await?).await
    }

    async fn own_items(&self) -> Result<Vec<Item<'_>>, Error> {
        self.search(HashMap::from(ATTRIBUTES)).await
    }

    async fn official_items(&self) -> Result<Vec<Item<'_>>, Error> {
        self.search(HashMap::from(official_client::ATTRIBUTES)).await
    }

    async fn search(&self, attributes: HashMap<&str, &str>) -> Result<Vec<Item<'_>>, Error> {
        let found = with_timeout(SERVICE_TIMEOUT, self.service.search_items(attributes)).await?;
        Ok(found.unlocked.into_iter().chain(found.locked).collect())
    }

    async fn read_secret(&self, item: &Item<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        with_timeout(PROMPT_TIMEOUT, async {
            if item.is_locked().await? {
                item.unlock().await?;
            }
            Ok(Zeroizing::new(item.get_secret().await?))
        })
        .await
    }

    async fn delete_items(&self, items: Vec<Item<'_>>) -> Result<(), Error> {
        for item in items {
            with_timeout(PROMPT_TIMEOUT, async {
                if item.is_locked().await? {
                    item.unlock().await?;
                }
                item.delete().await
            })
            .await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

async fn with_timeout<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, secret_service::Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, call).await.map_err(|_| Error::Timeout)?.map_err(Error::from)
}
