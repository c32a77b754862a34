//! The user's settings, stored with GSettings.

mod official_client;

use std::collections::BTreeSet;

use gtk::{gio, prelude::*};

use crate::APP_ID;

const ACCOUNT_SLUG: &str = "account-slug";
const FAVOURITES: &str = "favourites";
const CONNECT_ON_START: &str = "connect-on-start";
const MUST_DELETE_TOKEN: &str = "has-to-forget";

/// The user's settings. Without the installed schema there are none, and choices last until the app ends.
#[derive(Clone, Debug)]
pub struct Settings(gio::Settings);

impl Settings {
    /// Opens the settings; `None` if the schema is not installed.
    #[must_use]
    pub fn open() -> Option<Self> {
        let source = gio::SettingsSchemaSource::default()?;
        source.lookup(APP_ID, true)?;
        Some(Self(gio::Settings::new(APP_ID)))
    }

    /// The account ID for the sign-in page.
    #[must_use]
    pub fn account_slug(&self) -> String {
        self.0.string(ACCOUNT_SLUG).into()
    }

    /// See [`Self::account_slug`].
    pub fn set_account_slug(&self, slug: &str) {
        self.log_failure(ACCOUNT_SLUG, self.0.set_string(ACCOUNT_SLUG, slug));
    }

    /// IDs of favourite resources.
    #[must_use]
    pub fn favourites(&self) -> BTreeSet<String> {
        self.0.strv(FAVOURITES).iter().map(ToString::to_string).collect()
    }

    /// See [`Self::favourites`].
    pub fn set_favourites(&self, favourites: &BTreeSet<String>) {
        let list: Vec<&str> = favourites.iter().map(String::as_str).collect();
        self.log_failure(FAVOURITES, self.0.set_strv(FAVOURITES, list));
    }

    /// Whether to connect with the stored token when the app starts.
    #[must_use]
    pub fn connects_on_start(&self) -> bool {
        self.0.boolean(CONNECT_ON_START)
    }

    /// Whether the keyring still contains a token that must not be used, because deleting it failed.
    #[must_use]
    pub fn must_delete_token(&self) -> bool {
        self.0.boolean(MUST_DELETE_TOKEN)
    }

    /// See [`Self::must_delete_token`].
    pub fn set_must_delete_token(&self, must_delete_token: bool) {
        self.log_failure(MUST_DELETE_TOKEN, self.0.set_boolean(MUST_DELETE_TOKEN, must_delete_token));
    }

    /// Binds this setting to a property of a widget.
    pub fn bind_connect_on_start(&self, widget: &impl IsA<gtk::glib::Object>, property: &str) {
        self.0.bind(CONNECT_ON_START, widget, property).build();
    }

    /// Binds this setting to a property of a widget.
    pub fn bind_account_slug(&self, widget: &impl IsA<gtk::glib::Object>, property: &str) {
        self.0.bind(ACCOUNT_SLUG, widget, property).build();
    }

    /// Imports the settings of the official client, unless the user has already set something here.
    pub fn migrate(&self) {
        if [ACCOUNT_SLUG, FAVOURITES, CONNECT_ON_START].iter().any(|key| self.0.user_value(key).is_some()) {
            return;
        }
        let Some(choices) = official_client::read() else { return };
        if !choices.favourites.is_empty() {
            self.set_favourites(&choices.favourites.into_iter().collect());
        }
        if let Some(slug) = choices.account_slug {
            self.set_account_slug(&slug);
        }
        if let Some(connects) = choices.connects_on_start {
            self.log_failure(CONNECT_ON_START, self.0.set_boolean(CONNECT_ON_START, connects));
        }
    }

    fn log_failure(&self, key: &str, outcome: Result<(), gtk::glib::BoolError>) {
        if let Err(error) = outcome {
            tracing::warn!(key, "cannot save a setting: {error}");
        }
    }
}
