//! `dev.firezone.Client1.Settings`: the settings, their sources, and changes.

use std::collections::BTreeMap;

use dbus_api::{Error, Setting, settings::Change};
use zbus::{interface, message::Header, object_server::SignalEmitter};

use crate::{
    authorizer::Authorizer,
    daemon_handle::DaemonHandle,
    options::{self, Options},
};
use settings::{SettingsError, Value, setting, stored::ChangeError};

/// The interface, for authorized callers.
#[derive(Debug)]
pub(super) struct SettingsObject {
    daemon: DaemonHandle,
    authorizer: Authorizer,
}

impl SettingsObject {
    pub(super) fn new(daemon: DaemonHandle, authorizer: Authorizer) -> Self {
        Self { daemon, authorizer }
    }
}

#[interface(name = "dev.firezone.Client1.Settings")]
impl SettingsObject {
    #[zbus(out_args("settings"))]
    async fn get(&self, #[zbus(header)] header: Header<'_>) -> Result<BTreeMap<String, Setting>, Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let config = self.daemon.settings.get().await.map_err(refusal)?;
        Ok(config.values().map(|value| (value.setting.key.to_owned(), setting(&value))).collect())
    }

    async fn set(&self, #[zbus(header)] header: Header<'_>, settings: Options) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let changes = options::settings(settings)?.into_iter().map(|(key, text)| (key, Some(text))).collect();
        self.daemon.settings.change(changes).await.map_err(refusal)
    }

    async fn reset(&self, #[zbus(header)] header: Header<'_>, keys: Vec<String>) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        let changes = keys.into_iter().map(|key| (key, None)).collect();
        self.daemon.settings.change(changes).await.map_err(refusal)
    }

    #[zbus(signal)]
    pub(super) async fn changed(emitter: &SignalEmitter<'_>, keys: Vec<String>) -> zbus::Result<()>;
}

pub(super) fn setting(value: &Value<'_>) -> Setting {
    Setting {
        value: value.text.to_owned(),
        source: value.source.map(ToString::to_string).unwrap_or_default(),
        locked: value.is_locked(),
        change: change(value.setting.change),
        description: value.setting.doc.to_owned(),
    }
}

fn change(it: setting::Change) -> Change {
    match it {
        setting::Change::Never => Change::Never,
        setting::Change::NextStart => Change::NextStart,
        setting::Change::AtOnce => Change::AtOnce,
    }
}

pub(super) fn refusal(error: SettingsError) -> Error {
    let text = error.to_string();
    match error {
        SettingsError::Stopping => Error::Stopping(text),
        SettingsError::Invalid(_) => Error::Failed(text),
        SettingsError::Change(ChangeError::UnknownKey(_)) => Error::NotFound(text),
        SettingsError::Change(ChangeError::AdministratorOnly(_) | ChangeError::Locked { .. }) => Error::Locked(text),
        SettingsError::Change(ChangeError::Invalid { .. }) => Error::InvalidArgs(text),
        SettingsError::Change(ChangeError::Io(error)) => {
            tracing::warn!(%error, "cannot store the settings");
            Error::Failed(text)
        }
    }
}
