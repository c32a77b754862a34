//! What the user has chosen, kept by the desktop.

mod import;

use std::collections::BTreeSet;

use gtk::{gio, prelude::*};

use crate::APP_ID;

const ACCOUNT_SLUG: &str = "account-slug";
const FAVOURITES: &str = "favourites";
const CONNECT_ON_START: &str = "connect-on-start";
const HAS_TO_FORGET: &str = "has-to-forget";

/// The user's choices. Where the schema is not installed, they last as long as the app.
#[derive(Clone, Debug)]
pub struct Settings(gio::Settings);

impl Settings {
    /// Opens them; nothing if the schema is not installed.
    #[must_use]
    pub fn open() -> Option<Self> {
        let source = gio::SettingsSchemaSource::default()?;
        source.lookup(APP_ID, true)?;
        Some(Self(gio::Settings::new(APP_ID)))
    }

    /// The account that the sign-in starts with.
    #[must_use]
    pub fn account_slug(&self) -> String {
        self.0.string(ACCOUNT_SLUG).into()
    }

    /// See [`Self::account_slug`].
    pub fn set_account_slug(&self, slug: &str) {
        self.remember(ACCOUNT_SLUG, self.0.set_string(ACCOUNT_SLUG, slug));
    }

    /// Identities of favourite resources.
    #[must_use]
    pub fn favourites(&self) -> BTreeSet<String> {
        self.0.strv(FAVOURITES).iter().map(ToString::to_string).collect()
    }

    /// See [`Self::favourites`].
    pub fn set_favourites(&self, favourites: &BTreeSet<String>) {
        let list: Vec<&str> = favourites.iter().map(String::as_str).collect();
        self.remember(FAVOURITES, self.0.set_strv(FAVOURITES, list));
    }

    /// Whether a kept token is handed over at start.
    #[must_use]
    pub fn connects_on_start(&self) -> bool {
        self.0.boolean(CONNECT_ON_START)
    }

    /// Whether the keyring has a sign-in that counts no more, because it could not be forgotten.
    #[must_use]
    pub fn has_to_forget(&self) -> bool {
        self.0.boolean(HAS_TO_FORGET)
    }

    /// See [`Self::has_to_forget`].
    pub fn set_has_to_forget(&self, has_to_forget: bool) {
        self.remember(HAS_TO_FORGET, self.0.set_boolean(HAS_TO_FORGET, has_to_forget));
    }

    /// Keeps `widget`'s `property` and the choice the same.
    pub fn bind_connect_on_start(&self, widget: &impl IsA<gtk::glib::Object>, property: &str) {
        self.0.bind(CONNECT_ON_START, widget, property).build();
    }

    /// Keeps `widget`'s `property` and the account the same.
    pub fn bind_account_slug(&self, widget: &impl IsA<gtk::glib::Object>, property: &str) {
        self.0.bind(ACCOUNT_SLUG, widget, property).build();
    }

    /// Takes over what the user has chosen with the existing client, as far as nothing was chosen here yet.
    pub fn take_over(&self) {
        if [ACCOUNT_SLUG, FAVOURITES, CONNECT_ON_START].iter().any(|key| self.0.user_value(key).is_some()) {
            return;
        }
        let Some(choices) = import::read() else { return };
        if !choices.favourites.is_empty() {
            self.set_favourites(&choices.favourites.into_iter().collect());
        }
        if let Some(slug) = choices.account_slug {
            self.set_account_slug(&slug);
        }
        if let Some(connects) = choices.connects_on_start {
            self.remember(CONNECT_ON_START, self.0.set_boolean(CONNECT_ON_START, connects));
        }
    }

    fn remember(&self, key: &str, outcome: Result<(), gtk::glib::BoolError>) {
        if let Err(error) = outcome {
            tracing::warn!(key, "cannot keep a setting: {error}");
        }
    }
}
