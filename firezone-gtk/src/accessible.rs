//! Names for what the library leaves without one. Whoever does not see the screen hears them.

use gtk::{glib, prelude::*};

/// Gives a widget a name.
///
/// Our oldest library takes names from layouts only, so this is a layout of one line.
pub(crate) fn name(widget: &impl IsA<gtk::Widget>, name: &str) {
    let property = format!("<property name=\"label\">{}</property>", glib::markup_escape_text(name));
    extend(&gtk::Builder::new(), widget, &property);
}

fn extend(builder: &gtk::Builder, widget: &impl IsA<gtk::Widget>, what: &str) {
    let layout = format!(
        "<interface><template class=\"{}\"><accessibility>{what}</accessibility></template></interface>",
        widget.type_().name(),
    );
    if let Err(error) = builder.extend_with_template(widget.upcast_ref::<gtk::Widget>(), widget.type_(), &layout) {
        tracing::debug!("a widget stays without a name: {error}");
    }
}

/// Calls a widget by what these labels say, now and later: cheaper than a new name each time that they say something else.
pub(crate) fn name_by(widget: &impl IsA<gtk::Widget>, labels: &[&gtk::Label]) {
    let builder = gtk::Builder::new();
    let mut relations = String::new();
    for (index, label) in labels.iter().enumerate() {
        let id = format!("label-{index}");
        builder.expose_object(&id, *label);
        relations += &format!("<relation name=\"labelled-by\">{id}</relation>");
    }
    extend(&builder, widget, &relations);
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
