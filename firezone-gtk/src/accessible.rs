//! Names for what the library leaves without one. Whoever does not see the screen hears them.

use gtk::{glib, prelude::*};

/// Gives a widget a name.
///
/// Our oldest library takes names from layouts only, so this is a layout of one line.
pub(crate) fn name(widget: &impl IsA<gtk::Widget>, name: &str) {
    let layout = format!(
        "<interface><template class=\"{}\"><accessibility><property name=\"label\">{}</property></accessibility>\
         </template></interface>",
        widget.type_().name(),
        glib::markup_escape_text(name)
    );
    if let Err(error) =
        gtk::Builder::new().extend_with_template(widget.upcast_ref::<gtk::Widget>(), widget.type_(), &layout)
    {
        tracing::debug!("a widget stays without a name: {error}");
    }
}

/// Gives the lists and the scrolled areas in `root` a name: the keyboard can rest on them.
pub(crate) fn name_containers(root: &impl IsA<gtk::Widget>, text: &str) {
    let mut child = root.first_child();
    while let Some(widget) = child {
        if widget.is::<gtk::ScrolledWindow>() || widget.is::<gtk::ListBox>() {
            name(&widget, text);
        }
        name_containers(&widget, text);
        child = widget.next_sibling();
    }
}
