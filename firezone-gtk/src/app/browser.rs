//! Opening the browser: for the sign-in page, for links of resources, and for the sign-in page of a network.

use gettextrs::gettext;
use gtk::{gio, glib, prelude::*};

use super::App;
use crate::view::resources::link;

impl App {
    /// Opens a link. Links may contain secrets, so they are never logged.
    pub(super) fn open_in_browser(&self, link: String) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let outcome = gio::AppInfo::launch_default_for_uri_future(&link, gio::AppLaunchContext::NONE).await;
            if let (Err(_), Some(app)) = (outcome, this.upgrade()) {
                app.browser_failed();
            }
        });
    }

    /// Without a browser, a sign-in cannot be completed.
    fn browser_failed(&self) {
        if self.sign_in.borrow().is_waiting() {
            self.sign_in.borrow_mut().cancel();
            self.model.borrow_mut().cancel_attempt();
            self.show_toast(&gettext(
                "No browser could be opened. You can sign in from a terminal with “firezonectl sign-in”.",
            ));
            self.refresh();
        } else {
            self.show_toast(&gettext("No browser could be opened."));
        }
    }

    /// Opens a page that a captive portal redirects to its own.
    pub(super) fn open_network_page(&self) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let page = network_page().await;
            let Some(app) = this.upgrade() else { return };
            match page.as_deref().and_then(link) {
                Some(page) => app.open_in_browser(page),
                None => app.show_toast(&gettext(
                    "Open any page in your browser. The network redirects it to its sign-in page.",
                )),
            }
        });
    }
}

/// The page with which NetworkManager has detected the captive portal. The daemon learns of captive portals from
/// NetworkManager.
async fn network_page() -> Option<String> {
    const NAME: &str = "org.freedesktop.NetworkManager";
    const PATH: &str = "/org/freedesktop/NetworkManager";
    let bus = gio::bus_get_future(gio::BusType::System).await.ok()?;
    let property = (NAME, "ConnectivityCheckUri").to_variant();
    let flags = gio::DBusCallFlags::NO_AUTO_START;
    let interface = "org.freedesktop.DBus.Properties";
    let answer = bus.call_future(Some(NAME), PATH, interface, "Get", Some(&property), None, flags, -1).await.ok()?;
    answer.try_child_value(0)?.as_variant()?.get()
}
