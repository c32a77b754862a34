//! The browser: for the page where people sign in, for links of resources, and for networks that want to see one first.

use gettextrs::gettext;
use gtk::{gio, glib, prelude::*};

use super::App;
use crate::view::resources::link;

impl App {
    /// Whatever opens such links. A link may be secret, so it is in no message.
    pub(super) fn open_in_browser(&self, link: String) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let outcome = gio::AppInfo::launch_default_for_uri_future(&link, gio::AppLaunchContext::NONE).await;
            if let (Err(_), Some(app)) = (outcome, this.upgrade()) {
                app.is_without_browser();
            }
        });
    }

    /// Whoever waits for the browser would wait in vain.
    fn is_without_browser(&self) {
        if self.sign_in.borrow().is_waiting() {
            self.sign_in.borrow_mut().cancel();
            self.model.borrow_mut().give_up();
            self.say(&gettext("No browser could be opened. At a terminal, “firezonectl sign-in” needs none."));
            self.refresh();
        } else {
            self.say(&gettext("No browser could be opened."));
        }
    }

    /// Opens a page that a network which wants a sign-in leads to its own.
    pub(super) fn open_network_page(&self) {
        let this = self.this.clone();
        glib::spawn_future_local(async move {
            let page = network_page().await;
            let Some(app) = this.upgrade() else { return };
            match page.as_deref().and_then(link) {
                Some(page) => app.open_in_browser(page),
                None => app.say(&gettext("Open any page in your browser. The network leads it to the right one.")),
            }
        });
    }
}

/// The page by which NetworkManager, from whom the daemon knows of such networks, has found out.
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
