//! The row of one setting of the daemon.

use adw::prelude::*;
use gettextrs::gettext;

use crate::{
    accessible,
    view::settings::{self, Editor, SettingRow},
};

/// The widget for a setting. Changing it activates an action; its value changes when the daemon confirms it.
pub(crate) fn build(row: &SettingRow) -> gtk::Widget {
    match &row.editor {
        Editor::Locked => locked(row).upcast(),
        Editor::Switch(is_on) => switch(row, *is_on).upcast(),
        Editor::Choice(words, chosen) => choice(row, words, *chosen).upcast(),
        Editor::Text => text(row).upcast(),
    }
}

fn locked(row: &SettingRow) -> adw::ActionRow {
    let widget = plain(row);
    let value = gtk::Label::new(Some(&row.value));
    value.set_wrap(true);
    value.set_wrap_mode(gtk::pango::WrapMode::WordChar);
    // In one line if there is room, and never hyphenated.
    value.set_natural_wrap_mode(gtk::NaturalWrapMode::None);
    value.set_attributes(Some(&as_it_is()));
    value.set_xalign(1.0);
    value.set_justify(gtk::Justification::Right);
    value.set_max_width_chars(28);
    // Reserve room beside a long note: the width of the value in one line, or that of 20 characters if it is longer.
    // The widget is not in its window yet, whose font may be slightly wider.
    let letters = 20 * value.pango_context().metrics(None, None).approximate_char_width() / gtk::pango::SCALE;
    let (whole, _) = value.create_pango_layout(Some(&row.value)).pixel_size();
    value.set_size_request((whole + whole / 10).min(letters), -1);
    value.set_selectable(true);
    value.add_css_class("dim-label");
    let lock = gtk::Image::from_icon_name("changes-prevent-symbolic");
    lock.set_tooltip_text(Some(&gettext("Locked")));
    accessible::set_name(&lock, &gettext("Locked"));
    widget.add_suffix(&value);
    widget.add_suffix(&lock);
    widget
}

fn as_it_is() -> gtk::pango::AttrList {
    let attributes = gtk::pango::AttrList::new();
    attributes.insert(gtk::pango::AttrInt::new_insert_hyphens(false));
    attributes
}

fn switch(row: &SettingRow, is_on: bool) -> adw::ActionRow {
    let widget = plain(row);
    let switch = gtk::Switch::builder().active(is_on).valign(gtk::Align::Center).build();
    let key = row.key.clone();
    switch.connect_state_set(move |switch, wanted| {
        change(switch.upcast_ref(), &key, if wanted { "true" } else { "false" });
        gtk::glib::Propagation::Proceed
    });
    add_reset(row, |button| widget.add_suffix(button));
    widget.add_suffix(&switch);
    widget.set_activatable_widget(Some(&switch));
    widget
}

fn choice(row: &SettingRow, words: &'static [&'static str], chosen: usize) -> adw::ComboRow {
    let texts: Vec<String> = words.iter().map(|word| settings::choice(word)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let widget = adw::ComboRow::builder().title(&row.title).subtitle(&row.note).use_markup(false).build();
    widget.set_subtitle_lines(0);
    widget.set_factory(Some(&choices(false)));
    widget.set_list_factory(Some(&choices(true)));
    widget.set_model(Some(&gtk::StringList::new(&texts)));
    widget.set_selected(u32::try_from(chosen).unwrap_or_default());
    accessible::name_each::<gtk::ListView>(&widget, &row.title);
    let key = row.key.clone();
    widget.connect_selected_notify(move |widget| {
        if let Some(word) = words.get(widget.selected() as usize) {
            change(widget.upcast_ref(), &key, word);
        }
    });
    add_reset(row, |button| widget.add_suffix(button));
    widget
}

/// Displays choices with their whole text, which the library's own factory would cut off, and with an accessible name.
/// In the list, a check mark is beside the selected one.
fn choices(is_list: bool) -> gtk::SignalListItemFactory {
    let factory = gtk::SignalListItemFactory::new();
    factory.connect_setup(move |_, item| {
        let Some(item) = item.downcast_ref::<gtk::ListItem>() else { return };
        let label = gtk::Label::builder().xalign(0.0).build();
        let text = item.property_expression("item").chain_property::<gtk::StringObject>("string");
        text.bind(&label, "label", gtk::Widget::NONE);
        let line = gtk::Box::new(gtk::Orientation::Horizontal, 6);
        line.append(&label);
        if is_list {
            let mark = gtk::Image::from_icon_name("object-select-symbolic");
            item.bind_property("selected", &mark, "visible").sync_create().build();
            line.append(&mark);
        }
        // Only once it is in a window: before that, its parent must not be accessed.
        line.connect_root_notify(move |line| {
            if line.root().is_some()
                && let Some(place) = line.parent()
            {
                accessible::label_by(&place, &[&label]);
            }
        });
        item.set_child(Some(&line));
    });
    factory
}

fn text(row: &SettingRow) -> adw::EntryRow {
    // An entry row has no room for the whole note.
    let title = format!("{} ({})", row.title, row.source);
    let widget = adw::EntryRow::builder().title(title).use_markup(false).show_apply_button(true).build();
    widget.set_text(&row.value);
    widget.set_tooltip_text(Some(&row.note));
    let key = row.key.clone();
    widget.connect_apply(move |widget| change(widget.upcast_ref(), &key, &widget.text()));
    add_reset(row, |button| widget.add_suffix(button));
    widget
}

fn plain(row: &SettingRow) -> adw::ActionRow {
    let widget = adw::ActionRow::builder().title(&row.title).subtitle(&row.note).use_markup(false).build();
    // Show the whole source, however long it is.
    widget.set_subtitle_lines(0);
    widget
}

fn add_reset(row: &SettingRow, add: impl FnOnce(&gtk::Button)) {
    if !row.can_reset {
        return;
    }
    let label = gettext("Reset to Default");
    let button = gtk::Button::from_icon_name("edit-undo-symbolic");
    button.set_valign(gtk::Align::Center);
    button.set_tooltip_text(Some(&label));
    button.set_action_target(Some(&row.key));
    button.set_action_name(Some("app.reset-setting"));
    button.add_css_class("flat");
    accessible::set_name(&button, &label);
    add(&button);
}

fn change(widget: &gtk::Widget, key: &str, value: &str) {
    // The action exists for as long as the app runs.
    let _activated = widget.activate_action("app.change-setting", Some(&format!("{key}={value}").to_variant()));
}
