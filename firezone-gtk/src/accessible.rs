//! Names for what the library leaves without one. Whoever does not see the screen hears them.

use gettextrs::gettext;
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
    name_each::<gtk::ScrolledWindow>(root, text);
    name_each::<gtk::ListBox>(root, text);
}

/// Gives everything of this kind in `root` a name.
pub(crate) fn name_each<T: IsA<gtk::Widget>>(root: &impl IsA<gtk::Widget>, text: &str) {
    visit(root.upcast_ref(), &|widget| {
        if widget.is::<T>() {
            name(widget, text);
        }
    });
}

/// Gives what is in a window of the library names: that of the window to what only holds other things, and to buttons
/// what is said or written on them.
pub(crate) fn name_window(window: &impl IsA<gtk::Widget>, title: &str) {
    name_containers(window, title);
    name_each::<gtk::TextView>(window, title);
    name_each::<gtk::SearchEntry>(window, &gettext("Search"));
    visit(window.upcast_ref(), &|widget| {
        let Some(button) = widget.downcast_ref::<gtk::Button>() else { return };
        if button.label().is_some() || button.ancestor(gtk::WindowControls::static_type()).is_some() {
            return;
        }
        let said = button.tooltip_text().or_else(|| written_on(widget));
        let is_search = || button.icon_name().is_some_and(|icon| icon.contains("find") || icon.contains("search"));
        match said {
            Some(said) => name(button, &said),
            None if is_search() => name(button, &gettext("Search")),
            None => name(button, title),
        }
    });
}

fn written_on(widget: &gtk::Widget) -> Option<glib::GString> {
    match widget.downcast_ref::<gtk::Label>() {
        Some(label) => Some(label.label()).filter(|text| !text.is_empty()),
        None => children(widget).find_map(|child| written_on(&child)),
    }
}

fn visit(root: &gtk::Widget, look: &impl Fn(&gtk::Widget)) {
    for child in children(root) {
        look(&child);
        visit(&child, look);
    }
}

fn children(widget: &gtk::Widget) -> impl Iterator<Item = gtk::Widget> + use<> {
    std::iter::successors(widget.first_child(), gtk::Widget::next_sibling)
}
