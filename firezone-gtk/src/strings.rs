//! The language of the user, and codes of the daemon as sentences. All texts of the app are marked for translation where
//! they stand.

use std::path::{Path, PathBuf};

use dbus_api::State;
use gettextrs::gettext;

/// The user's language, which GTK chooses when it starts. Without translations all is English.
pub fn speak() {
    const DOMAIN: &str = "firezone-gtk";
    let outcome = gettextrs::bindtextdomain(DOMAIN, translations(DOMAIN))
        .and_then(|_| gettextrs::bind_textdomain_codeset(DOMAIN, "UTF-8"))
        .and_then(|_| gettextrs::textdomain(DOMAIN));
    if let Err(error) = outcome {
        tracing::debug!("no translations: {error}");
    }
}

/// Where translations are installed: in one of the directories of data, as everything else.
fn translations(domain: &str) -> PathBuf {
    let directories = std::env::var("XDG_DATA_DIRS").unwrap_or_default();
    let places = directories.split(':').filter(|it| it.starts_with('/')).map(|it| Path::new(it).join("locale"));
    places
        .chain(["/usr/local/share/locale".into()])
        .find(|place| place.join("de/LC_MESSAGES").join(format!("{domain}.mo")).is_file())
        .unwrap_or_else(|| "/usr/share/locale".into())
}

/// Where the session is, in one or two words.
#[must_use]
pub fn state(state: &State) -> String {
    match state {
        State::SignedOut => gettext("Signed out"),
        State::WaitingForNetwork => gettext("Waiting for a network"),
        State::Connecting => gettext("Connecting"),
        State::Connected => gettext("Connected"),
        State::Reconnecting => gettext("Reconnecting"),
        State::SigningOut => gettext("Signing out"),
        State::Other(_) => gettext("Unknown"),
    }
}

/// Why the session is where it is. Codes of a newer daemon are shown as they are.
#[must_use]
pub fn reason(code: &str) -> String {
    match code {
        "invalid_token" | "missing_token" => gettext("The portal does not accept the sign-in any more."),
        "token_expired" => gettext("The sign-in has expired, or another device with the same identity has connected."),
        "portal_rejected" => gettext("The portal, or something before it, refuses the connection."),
        "portal_tls" => gettext("The portal's certificate is not trusted. Check the clock of this computer."),
        "portal_unreachable" => gettext("The portal does not answer."),
        "no_network" => gettext("This computer has no network."),
        "captive_portal" => gettext("This network wants you to sign in in a browser first."),
        "tun_busy" => gettext("Another program holds the network interface."),
        "tun_unavailable" => gettext("The network interface cannot be made."),
        "tunnel_failed" => gettext("The tunnel broke."),
        "cannot_mark_sockets" => gettext("The service lacks the permission to configure the network."),
        other => other.to_owned(),
    }
}

/// Whether the gateways of a resource are there.
#[must_use]
pub fn status(code: &str) -> String {
    match code {
        "online" => gettext("Gateway connected"),
        "offline" => gettext("All gateways offline"),
        _ => gettext("No activity"),
    }
}

/// The way to a resource, or nothing if it is not known.
#[must_use]
pub fn path(code: &str) -> String {
    match code {
        "direct" => gettext("Connected directly"),
        "relayed" => gettext("Connected through a relay"),
        "connecting" => gettext("Connecting"),
        _ => String::new(),
    }
}

/// What a resource is.
#[must_use]
pub fn kind(code: &str) -> String {
    match code {
        "internet" => gettext("All network traffic"),
        "dns" => gettext("Name"),
        "cidr" => gettext("Network"),
        other => other.to_owned(),
    }
}
