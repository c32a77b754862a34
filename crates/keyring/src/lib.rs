//! The user's token in the desktop's keyring, where the desktop app and the command line both find it.
//!
//! The keyring is whatever serves the Secret Service on the session bus. It may be missing, locked, or its prompt may
//! be dismissed; none of that may keep anybody from signing in, so every error here is for a remark, never for giving
//! up.
//!
//! What the existing client of the same platform has left there is found too ([`foreign`]): whoever changes over need
//! not sign in anew. It stays where it is until [`Keyring::forget`], or until a front end has seen it work and calls
//! [`Keyring::take_over`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod foreign;
mod kept;

use std::{collections::HashMap, time::Duration};

use secret_service::{EncryptionType, Item, SecretService};
use zbus::Connection;
use zeroize::Zeroizing;

pub use error::Error;
pub use kept::Kept;

/// What our item is found by. Attributes are not secret, so they say no more than that.
const ATTRIBUTES: [(&str, &str); 2] = [("xdg:schema", "dev.firezone.Token"), ("application", "dev.firezone.Client")];
const LABEL: &str = "Firezone";
/// As the desktops name the collection that they make.
const COLLECTION_LABEL: &str = "Login";
const DEFAULT_COLLECTION: &str = "default";
const CONTENT_TYPE: &str = "application/json";

/// How long the service may take to answer when nobody is asked anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a person may take to unlock the keyring.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(120);

/// The keyring of the user who runs this process.
pub struct Keyring {
    service: SecretService<'static>,
}

impl Keyring {
    /// Finds the service on the user's session bus.
    ///
    /// # Errors
    ///
    /// There is no session bus, or nobody serves a keyring on it.
    pub async fn open() -> Result<Self, Error> {
        let bus = tokio::time::timeout(PATIENCE, Connection::session()).await.map_err(|_| Error::Silent)?;
        Self::over(bus.map_err(|_| Error::Missing)?).await
    }

    /// Finds the service on this bus. What travels over it is encrypted.
    ///
    /// # Errors
    ///
    /// Nobody serves a keyring on it.
    pub async fn over(bus: Connection) -> Result<Self, Error> {
        let service = within(PATIENCE, SecretService::connect_with_existing(EncryptionType::Dh, bus)).await?;
        Ok(Self { service })
    }

    /// What is kept: by us, or else by the existing client. May ask the user to unlock the keyring.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user does not want to unlock it. Something unreadable counts as nothing.
    pub async fn read(&self) -> Result<Option<Kept>, Error> {
        for item in &self.ours().await? {
            if let Some(kept) = Kept::from_secret(&self.secret(item).await?) {
                return Ok(Some(kept));
            }
        }
        let Some(actor) = foreign::actor() else { return Ok(None) };
        for item in &self.foreign().await? {
            if let Some(kept) = foreign::kept(&self.secret(item).await?, &actor) {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Keeps it in place of what was kept before. May ask the user to unlock or to create the keyring.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user does not want it.
    pub async fn keep(&self, kept: &Kept) -> Result<(), Error> {
        let secret = kept.to_secret();
        within(PATIENCE_WITH_PEOPLE, async {
            let collection = match self.service.get_default_collection().await {
                // Whoever has never kept anything has no collection yet.
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

    /// A session that began with this token has connected: if the existing client has kept a token, this one is kept in
    /// its place, unless we have kept one already.
    ///
    /// # Errors
    ///
    /// As [`Self::keep`]; then nothing is forgotten.
    pub async fn take_over(&self, kept: &Kept) -> Result<(), Error> {
        let foreign = self.foreign().await?;
        if foreign.is_empty() {
            return Ok(());
        }
        if self.ours().await?.is_empty() {
            self.keep(kept).await?;
        }
        self.delete(foreign).await
    }

    /// Forgets what is kept, by us and by the existing client.
    ///
    /// # Errors
    ///
    /// The service does not answer, or the user does not want to unlock it.
    pub async fn forget(&self) -> Result<(), Error> {
        self.delete(self.ours().await?).await?;
        self.delete(self.foreign().await?).await
    }

    async fn ours(&self) -> Result<Vec<Item<'_>>, Error> {
        self.search(HashMap::from(ATTRIBUTES)).await
    }

    async fn foreign(&self) -> Result<Vec<Item<'_>>, Error> {
        self.search(HashMap::from(foreign::ATTRIBUTES)).await
    }

    async fn search(&self, attributes: HashMap<&str, &str>) -> Result<Vec<Item<'_>>, Error> {
        let found = within(PATIENCE, self.service.search_items(attributes)).await?;
        Ok(found.unlocked.into_iter().chain(found.locked).collect())
    }

    async fn secret(&self, item: &Item<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        within(PATIENCE_WITH_PEOPLE, async {
            if item.is_locked().await? {
                item.unlock().await?;
            }
            Ok(Zeroizing::new(item.get_secret().await?))
        })
        .await
    }

    async fn delete(&self, items: Vec<Item<'_>>) -> Result<(), Error> {
        for item in items {
            within(PATIENCE_WITH_PEOPLE, async {
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

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, secret_service::Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, call).await.map_err(|_| Error::Silent)?.map_err(Error::from)
}
