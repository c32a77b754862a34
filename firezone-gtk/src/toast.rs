//! Toasts: short messages at the bottom of a window.

use gettextrs::gettext;
use gtk::{glib, prelude::*};

/// A toast. With `details` it has a button that shows them.
pub(crate) fn build(text: &str, details: Option<&str>) -> adw::Toast {
    let toast = adw::Toast::new(&glib::markup_escape_text(text));
    if let Some(details) = details {
        toast.set_button_label(Some(&gettext("Details")));
        toast.set_action_target_value(Some(&details.to_variant()));
        toast.set_action_name(Some("app.details"));
    }
    toast
}
