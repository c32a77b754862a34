//! Desktop notifications: few, and each one requires the user's attention.

use dbus_api::Reason;
use gettextrs::gettext;
use gtk::{gio, prelude::*};

use crate::{model::Notification, strings};

/// Shows a notification, and replaces an earlier one of the same kind.
pub(crate) fn notify(app: &impl IsA<gio::Application>, notice: &Notification) {
    let (id, title, body) = texts(notice);
    let notification = gio::Notification::new(&title);
    notification.set_body(Some(&body));
    notification.set_default_action("app.open");
    app.as_ref().send_notification(Some(&id), &notification);
}

/// Withdraws the notifications that no longer apply once the session is connected.
pub(crate) fn withdraw(app: &impl IsA<gio::Application>) {
    for id in [SIGN_IN, CONNECTION] {
        app.as_ref().withdraw_notification(id);
    }
}

const SIGN_IN: &str = "sign-in";
const CONNECTION: &str = "connection";

fn texts(notice: &Notification) -> (String, String, String) {
    match notice {
        Notification::SignInAgain(cause) => {
            (SIGN_IN.to_owned(), gettext("Sign In Again"), strings::reason(&Reason::from(cause.as_str())))
        }
        Notification::ConnectionLost => {
            (CONNECTION.to_owned(), gettext("Connection Lost"), gettext("Firezone is trying to reconnect."))
        }
        Notification::Offline { site, name } => (
            format!("offline-{site}"),
            gettext("{name} cannot be reached").replace("{name}", name.as_ref().unwrap_or(site)),
            gettext("All gateways of the site {site} are offline. Contact your administrator.").replace("{site}", site),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_notification_names_the_site_and_its_only_resource() {
        for (name, expected) in [(Some("Wiki"), "Wiki"), (None, "Berlin")] {
            let notice = Notification::Offline { site: "Berlin".into(), name: name.map(str::to_owned) };
            let (id, title, body) = texts(&notice);
            assert_eq!(id, "offline-Berlin");
            assert!(title.contains(expected) && body.contains("Berlin"));
        }
    }
}
