//! Notifications: few, and each with something to do.

use gettextrs::gettext;
use gtk::{gio, prelude::*};

use crate::{model::Notice, strings};

/// Tells the user, in place of the same notice before.
pub fn notify(app: &impl IsA<gio::Application>, notice: &Notice) {
    let (id, title, body) = texts(notice);
    let notification = gio::Notification::new(&title);
    notification.set_body(Some(&body));
    notification.set_default_action("app.open");
    app.as_ref().send_notification(Some(&id), &notification);
}

/// Takes back what is not true any more.
pub fn withdraw(app: &impl IsA<gio::Application>) {
    for id in [SIGN_IN, CONNECTION] {
        app.as_ref().withdraw_notification(id);
    }
}

const SIGN_IN: &str = "sign-in";
const CONNECTION: &str = "connection";

fn texts(notice: &Notice) -> (String, String, String) {
    match notice {
        Notice::SignInAgain(reason) => (SIGN_IN.to_owned(), gettext("Sign in again"), strings::reason(reason)),
        Notice::ConnectionLost => {
            (CONNECTION.to_owned(), gettext("The connection is lost"), gettext("Firezone is trying to get it back."))
        }
        Notice::Offline { site, name } => (
            format!("offline-{site}"),
            gettext("{name} cannot be reached").replace("{name}", name.as_ref().unwrap_or(site)),
            gettext("All gateways of the site {site} are offline. Your administrator can help.")
                .replace("{site}", site),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_about_a_site_names_it_and_its_only_resource() {
        for (name, expected) in [(Some("Wiki"), "Wiki"), (None, "Berlin")] {
            let notice = Notice::Offline { site: "Berlin".into(), name: name.map(str::to_owned) };
            let (id, title, body) = texts(&notice);
            assert_eq!(id, "offline-Berlin");
            assert!(title.contains(expected) && body.contains("Berlin"));
        }
    }
}
