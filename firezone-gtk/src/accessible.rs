//! Accessible names, for screen readers, where the library sets none.

use gettextrs::gettext;
use gtk::{glib, prelude::*};

/// Sets the accessible name of a widget.
///
/// The oldest supported GTK bindings can set names only in a UI definition, so this builds a definition with one line.
pub(crate) fn set_name(widget: &impl IsA<gtk::Widget>, name: &str) {
    let property = format!("<property name=\"label\">{}</property>", glib::markup_escape_text(name));
    extend(&gtk::Builder::new(), widget, &property);
}

fn extend(builder: &gtk::Builder, widget: &impl IsA<gtk::Widget>, what: &str) {
    let layout = format!(
        "<interface><template class=\"{}\"><accessibility>{what}</accessibility></template></interface>",
        widget.type_().name(),
    );
    if let Err(error) = builder.extend_with_template(widget.upcast_ref::<gtk::Widget>(), widget.type_(), &layout) {
        tracing::debug!("cannot set the accessible name of a widget: {error}");
    }
}

/// Labels a widget by these labels, also when their texts change. Cheaper than setting a new name at each change.
pub(crate) fn label_by(widget: &impl IsA<gtk::Widget>, labels: &[&gtk::Label]) {
    let builder = gtk::Builder::new();
    let mut relations = String::new();
    for (index, label) in labels.iter().enumerate() {
        let id = format!("label-{index}");
        builder.expose_object(&id, *label);
        relations += &format!("<relation name=\"labelled-by\">{id}</relation>");
    }
    extend(&builder, widget, &relations);
}

/// Names the lists and scrolled areas in `root`, because the keyboard focus can rest on them.
pub(crate) fn name_containers(root: &impl IsA<gtk::Widget>, text: &str) {
    name_each::<gtk::ScrolledWindow>(root, text);
    name_each::<gtk::ListBox>(root, text);
}

/// Names all widgets of this type in `root`.
pub(crate) fn name_each<T: IsA<gtk::Widget>>(root: &impl IsA<gtk::Widget>, text: &str) {
    visit(root.upcast_ref(), &|widget| {
        if widget.is::<T>() {
            set_name(widget, text);
        }
    });
}

/// Names the parts of a window that the library provides: containers get the window's title, buttons get their tooltip
/// or the text on them.
pub(crate) fn name_window(window: &impl IsA<gtk::Widget>, title: &str) {
    name_containers(window, title);
    name_each::<gtk::TextView>(window, title);
    name_each::<gtk::SearchEntry>(window, &gettext("Search"));
    visit(window.upcast_ref(), &|widget| {
        let Some(button) = widget.downcast_ref::<gtk::Button>() else { return };
        if button.label().is_some() || button.ancestor(gtk::WindowControls::static_type()).is_some() {
            return;
        }
        let text = button.tooltip_text().or_else(|| label_text(widget));
        let is_search = || button.icon_name().is_some_and(|icon| icon.contains("find") || icon.contains("search"));
        match text {
            Some(text) => set_name(button, &text),
            None if is_search() => set_name(button, &gettext("Search")),
            None => set_name(button, title),
        }
    });
}

fn label_text(widget: &gtk::Widget) -> Option<glib::GString> {
    match widget.downcast_ref::<gtk::Label>() {
        Some(label) => Some(label.label()).filter(|text| !text.is_empty()),
        None => children(widget).find_map(|child| label_text(&child)),
    }
}

fn visit(root: &gtk::Widget, action: &impl Fn(&gtk::Widget)) {
    for child in children(root) {
        action(&child);
        visit(&child, action);
    }
}

fn children(widget: &gtk::Widget) -> impl Iterator<Item = gtk::Widget> + use<> {
    std::iter::successors(widget.first_child(), gtk::Widget::next_sibling)
}
