//! The row of one check.

use adw::prelude::*;
use gettextrs::gettext;

use crate::{accessible, view::diagnostics::CheckRow};

/// The widget for a check. A check that needs no action is a single line.
pub(crate) fn build(row: &CheckRow) -> gtk::Widget {
    let icon = gtk::Image::from_icon_name(row.icon);
    icon.add_css_class(row.class);
    if row.effect.is_empty() && row.remedy.is_empty() {
        let widget = adw::ActionRow::builder().title(&row.title).subtitle(&row.subtitle).use_markup(false).build();
        widget.set_subtitle_lines(3);
        widget.add_prefix(&icon);
        widget.add_suffix(&id(row));
        return widget.upcast();
    }
    let widget = adw::ExpanderRow::builder().title(&row.title).subtitle(&row.subtitle).use_markup(false).build();
    widget.add_prefix(&icon);
    widget.add_action(&id(row));
    for (title, text) in [(gettext("Impact"), &row.effect), (gettext("How to Fix"), &row.remedy)] {
        if !text.is_empty() {
            widget.add_row(&part(&title, text));
        }
    }
    accessible::set_name(&widget, &row.title);
    widget.set_expanded(row.class == "state-offline");
    widget.upcast()
}

fn id(row: &CheckRow) -> gtk::Label {
    let label = gtk::Label::new(Some(&row.id));
    label.add_css_class("dim-label");
    label.add_css_class("caption");
    label
}

fn part(title: &str, text: &str) -> gtk::ListBoxRow {
    let heading = gtk::Label::builder().label(title).xalign(0.0).css_classes(["caption", "dim-label"]).build();
    let body = gtk::Label::builder().label(text).xalign(0.0).wrap(true).selectable(true).build();
    body.set_wrap_mode(gtk::pango::WrapMode::WordChar);
    let column = gtk::Box::new(gtk::Orientation::Vertical, 2);
    column.append(&heading);
    column.append(&body);
    column.add_css_class("check-part");
    let row = gtk::ListBoxRow::builder().child(&column).activatable(false).selectable(false).build();
    accessible::set_name(&row, &format!("{title}: {text}"));
    row
}
