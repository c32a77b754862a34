//! The user's keyring from the side: what is in it, and whether it is locked. Items of the existing client can be put in as
//! that client left them.

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
/// Where gnome-keyring makes collections with a password that is told, and asks nobody.
const WITHOUT_QUESTIONS: &str = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface";
/// The collection that the login opens.
const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

/// By what our item is found, and by what those of the existing client are.
const OURS: (&str, &str) = ("application", "dev.firezone.Client");
const THEIRS: (&str, &str) = ("username", "dev.firezone.client/token");

/// Session, parameters, value, type: how secrets travel.
type Secret<'a> = (ObjectPath<'a>, Vec<u8>, Vec<u8>, &'a str);

/// How the existing client has kept its token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Since 1.5.10.
    New,
    /// Up to 1.5.9: in a collection of its own.
    Old,
}

/// Whose items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Ours.
    Ours,
    /// Those of the existing client.
    Theirs,
}

/// The keyring.
#[derive(Debug)]
pub struct Vault<'a>(pub(super) &'a Accessibility);

impl Vault<'_> {
    /// Keeps a token as the existing client does.
    pub fn keep_theirs(&self, format: Format, token: &str) -> anyhow::Result<()> {
        self.0.runtime.block_on(keep_theirs(&self.0.session, format, token))
    }

    /// How many items there are, locked or not.
    pub fn count(&self, whose: Whose) -> anyhow::Result<usize> {
        let attribute = match whose {
            Whose::Ours => OURS,
            Whose::Theirs => THEIRS,
        };
        self.0.runtime.block_on(async {
            let service = proxy(&self.0.session, SERVICE, PATH, SERVICE_INTERFACE).await?;
            let found: (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
                service.call("SearchItems", &HashMap::from([attribute])).await?;
            Ok(found.0.len() + found.1.len())
        })
    }

    /// Locks what the login had opened.
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

async fn keep_theirs(bus: &Connection, format: Format, token: &str) -> anyhow::Result<()> {
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
            HashMap::from([("service", ""), THEIRS]),
        ),
        Format::Old => {
            let makes = proxy(bus, SERVICE, PATH, WITHOUT_QUESTIONS).await?;
            let label = HashMap::from([("org.freedesktop.Secret.Collection.Label", Value::from(THEIRS.1))]);
            let made: OwnedObjectPath =
                makes.call("CreateWithMasterPassword", &(label, secret("another password", "text/plain")?)).await?;
            (
                made,
                "@:dev.firezone.client/token (keyring v3.6.3)",
                "text/plain",
                HashMap::from([
                    ("service", ""),
                    THEIRS,
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
