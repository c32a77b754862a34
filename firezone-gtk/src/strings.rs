//! Translated texts for the daemon's codes, and the locale. All other texts are marked for translation where they are
//! used.

use std::path::{Path, PathBuf};

use dbus_api::{PathKind, Phase, Reason, ResourceKind, ResourceStatus};
use gettextrs::gettext;

/// Loads the translations for the user's language, which GTK has chosen. Without translations all texts are English.
pub fn init_locale() {
    const DOMAIN: &str = "firezone-gtk";
    let outcome = gettextrs::bindtextdomain(DOMAIN, translations(DOMAIN))
        .and_then(|_| gettextrs::bind_textdomain_codeset(DOMAIN, "UTF-8"))
        .and_then(|_| gettextrs::textdomain(DOMAIN));
    if let Err(error) = outcome {
        tracing::debug!("no translations: {error}");
    }
}

/// The directory of the translations, below one of the data directories.
fn translations(domain: &str) -> PathBuf {
    let directories = std::env::var("XDG_DATA_DIRS").unwrap_or_default();
    let places = directories.split(':').filter(|it| it.starts_with('/')).map(|it| Path::new(it).join("locale"));
    places
        .chain(["/usr/local/share/locale".into()])
        .find(|place| place.join("de/LC_MESSAGES").join(format!("{domain}.mo")).is_file())
        .unwrap_or_else(|| "/usr/share/locale".into())
}

/// The state of the session, in one or two words.
#[must_use]
pub fn state(phase: &Phase) -> String {
    match phase {
        Phase::SignedOut(_) => gettext("Signed out"),
        Phase::WaitingForNetwork(_) => gettext("Waiting for a network"),
        Phase::Connecting(_) => gettext("Connecting"),
        Phase::Connected => gettext("Connected"),
        Phase::Reconnecting(_) => gettext("Reconnecting"),
        Phase::SigningOut => gettext("Signing out"),
        Phase::Other { .. } => gettext("Unknown"),
    }
}

/// The reason for a state, in a sentence. Codes of a newer daemon are returned as they are.
#[must_use]
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::InvalidToken | Reason::MissingToken => gettext("The portal no longer accepts the sign-in."),
        Reason::TokenExpired => {
            gettext("The sign-in has expired, or another device with the same device ID has connected.")
        }
        Reason::PortalRejected => gettext("The portal, or a proxy in front of it, refuses the connection."),
        Reason::PortalTls => gettext("The portal's certificate is not trusted. Check the clock of this computer."),
        Reason::PortalUnreachable => gettext("The portal does not answer."),
        Reason::NoNetwork => gettext("This computer has no network connection."),
        Reason::CaptivePortal => gettext("This network requires you to sign in with a browser first."),
        Reason::Suspended => gettext("This computer is suspended or has just woken up."),
        Reason::TunBusy => gettext("Another program is using the network interface."),
        Reason::TunUnavailable => gettext("The network interface cannot be created."),
        Reason::TunnelFailed => gettext("The tunnel failed."),
        Reason::CannotMark => gettext("The service lacks the permission to configure the network."),
        Reason::Other(code) => code.clone(),
    }
}

/// The status of a resource's gateways.
#[must_use]
pub fn status(status: &ResourceStatus) -> String {
    match status {
        ResourceStatus::Online => gettext("Gateway connected"),
        ResourceStatus::Offline => gettext("All gateways offline"),
        ResourceStatus::Unknown | ResourceStatus::Other(_) => gettext("No activity"),
    }
}

/// The path to a resource; empty if it is not known.
#[must_use]
pub fn path(path: &PathKind) -> String {
    match path {
        PathKind::Direct => gettext("Connected directly"),
        PathKind::Relayed => gettext("Connected through a relay"),
        PathKind::Connecting => gettext("Connecting"),
        PathKind::None | PathKind::Other(_) => String::new(),
    }
}

/// The kind of a resource.
#[must_use]
pub fn kind(kind: &ResourceKind) -> String {
    match kind {
        ResourceKind::Internet => gettext("All network traffic"),
        ResourceKind::Dns => gettext("Name"),
        ResourceKind::Cidr => gettext("Network"),
        ResourceKind::Other(word) => word.clone(),
    }
}
