//! Windows without state.

use adw::prelude::*;
use gettextrs::gettext;

use crate::{APP_ID, accessible};

/// The about window.
#[must_use]
pub fn about(parent: Option<&gtk::Window>) -> adw::AboutWindow {
    let about = adw::AboutWindow::builder()
        .modal(true)
        .application_name("Firezone")
        .application_icon(APP_ID)
        .version(env!("CARGO_PKG_VERSION"))
        .comments(gettext("Reach the private servers of your company."))
        .license_type(gtk::License::Apache20)
        .developer_name(gettext("The Firezone for Linux developers"))
        .build();
    about.set_transient_for(parent);
    accessible::name_window(&about, "Firezone");
    about
}

/// The window with the keyboard shortcuts; `None` if the program was built without its UI definitions.
#[must_use]
pub fn shortcuts(parent: Option<&gtk::Window>) -> Option<gtk::ShortcutsWindow> {
    let builder = gtk::Builder::from_resource("/dev/firezone/Gtk/ui/shortcuts.ui");
    let window: gtk::ShortcutsWindow = builder.object("shortcuts")?;
    window.set_transient_for(parent);
    accessible::name_window(&window, &window.title().unwrap_or_default());
    Some(window)
}

/// The reason for a failure, as a program or the daemon reported it.
#[must_use]
pub fn failure_details(parent: Option<&gtk::Window>, text: &str) -> adw::MessageDialog {
    let dialog = adw::MessageDialog::new(parent, Some(&gettext("Something went wrong")), Some(text));
    dialog.add_response("close", &gettext("_Close"));
    dialog
}
