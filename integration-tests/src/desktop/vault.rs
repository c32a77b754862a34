//! The content of the user's keyring, and its lock. Items of the official client can be added in that client's
//! formats.

use std::collections::HashMap;

use zbus::{
    Connection,
    zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value},
};

use super::accessibility::{Accessibility, proxy};

const SERVICE: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const SERVICE_INTERFACE: &str = "org.freedesktop.Secret.Service";
const COLLECTION_INTERFACE: &str = "org.freedesktop.Secret.Collection";
/// The interface with which gnome-keyring creates collections without a prompt.
const PROMPTLESS_INTERFACE: &str = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface";
/// The collection that is unlocked at login.
const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

/// Attributes of our item, and of the official client's.
const OURS: (&str, &str) = ("application", "dev.firezone.Client");
const OFFICIAL_CLIENT: (&str, &str) = ("username", "dev.firezone.client/token");

/// A secret in transit: session, parameters, value, type.
type Secret<'a> = (ObjectPath<'a>, Vec<u8>, Vec<u8>, &'a str);

/// The official client's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Since 1.5.10.
    New,
    /// Up to 1.5.9: in a separate collection.
    Old,
}

/// The owner of items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Ours.
    Ours,
    /// The official client.
    OfficialClient,
}

/// The keyring.
#[derive(Debug)]
pub struct Vault<'a>(&'a Accessibility);

impl Accessibility {
    /// The user's keyring, by the same session bus.
    #[must_use]
    pub fn vault(&self) -> Vault<'_> {
        Vault(self)
    }
}

impl Vault<'_> {
    /// Stores a token as the official client does.
    pub fn store_for_official_client(&self, format: Format, token: &str) -> anyhow::Result<()> {
        self.0.runtime.block_on(store_for_official_client(&self.0.session, format, token))
    }

    /// The number of items, locked or not.
    pub fn count(&self, owner: Owner) -> anyhow::Result<usize> {
        let attribute = match owner {
            Owner::Ours => OURS,
            Owner::OfficialClient => OFFICIAL_CLIENT,
        };
        self.0.runtime.block_on(async {
            let service = proxy(&self.0.session, SERVICE, PATH, SERVICE_INTERFACE).await?;
            let found: (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
                service.call("SearchItems", &HashMap::from([attribute])).await?;
            Ok(found.0.len() + found.1.len())
        })
    }

    /// Locks the login collection.
    pub fn lock(&self) -> anyhow::Result<()> {
        self.0.runtime.block_on(async {
            let service = proxy(&self.0.session, SERVICE, PATH, SERVICE_INTERFACE).await?;
            let locked: (Vec<OwnedObjectPath>, OwnedObjectPath) =
                service.call("Lock", &[ObjectPath::try_from(LOGIN)?].as_slice()).await?;
            anyhow::ensure!(!locked.0.is_empty(), "the keyring does not lock");
            Ok(())
        })
    }
}

async fn store_for_official_client(bus: &Connection, format: Format, token: &str) -> anyhow::Result<()> {
    let service = proxy(bus, SERVICE, PATH, SERVICE_INTERFACE).await?;
    let opened: (OwnedValue, OwnedObjectPath) = service.call("OpenSession", &("plain", Value::from(""))).await?;
    let secret = |value: &str, kind: &'static str| -> anyhow::Result<Secret<'_>> {
        Ok((opened.1.as_ref().to_owned(), Vec::new(), value.as_bytes().to_vec(), kind))
    };
    let (collection, label, kind, attributes) = match format {
        Format::New => (
            ObjectPath::try_from(LOGIN)?.into(),
            "keyring:dev.firezone.client/token@",
            "application/octet-stream",
            HashMap::from([("service", ""), OFFICIAL_CLIENT]),
        ),
        Format::Old => {
            let makes = proxy(bus, SERVICE, PATH, PROMPTLESS_INTERFACE).await?;
            let label = HashMap::from([("org.freedesktop.Secret.Collection.Label", Value::from(OFFICIAL_CLIENT.1))]);
            let made: OwnedObjectPath =
                makes.call("CreateWithMasterPassword", &(label, secret("another password", "text/plain")?)).await?;
            (
                made,
                "@:dev.firezone.client/token (keyring v3.6.3)",
                "text/plain",
                HashMap::from([
                    ("service", ""),
                    OFFICIAL_CLIENT,
                    ("target", "dev.firezone.client/token"),
                    ("application", "rust-keyring"),
                ]),
            )
        }
    };
    let properties = HashMap::from([
        ("org.freedesktop.Secret.Item.Label", Value::from(label)),
        ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes)),
    ]);
    let collection = proxy(bus, SERVICE, collection.as_str(), COLLECTION_INTERFACE).await?;
    let _made: (OwnedObjectPath, OwnedObjectPath) =
        collection.call("CreateItem", &(properties, secret(token, kind)?, false)).await?;
    Ok(())
}
