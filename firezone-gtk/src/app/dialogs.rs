//! Windows that are made, shown and forgotten.

use adw::prelude::*;
use gettextrs::gettext;

use crate::{APP_ID, accessible};

/// Who we are.
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

/// The keys; nothing only if the program was built without its layouts.
#[must_use]
pub fn shortcuts(parent: Option<&gtk::Window>) -> Option<gtk::ShortcutsWindow> {
    let builder = gtk::Builder::from_resource("/dev/firezone/Gtk/ui/shortcuts.ui");
    let window: gtk::ShortcutsWindow = builder.object("shortcuts")?;
    window.set_transient_for(parent);
    accessible::name_window(&window, &window.title().unwrap_or_default());
    Some(window)
}
