//! How one setting of the daemon looks.

use adw::prelude::*;
use gettextrs::gettext;

use crate::{
    accessible,
    view::settings::{self, Editor, SettingRow},
};

/// The widget for a setting. What is changed in it becomes an action; what it shows does not change by that.
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
    value.set_ellipsize(gtk::pango::EllipsizeMode::Middle);
    value.set_tooltip_text(Some(&row.value));
    value.set_max_width_chars(24);
    // A long note beside it must not leave dots only.
    value.set_width_chars(row.value.chars().count().min(14).try_into().unwrap_or(14));
    value.set_selectable(true);
    value.add_css_class("dim-label");
    let lock: gtk::Image = named("GtkImage", &gettext("Locked"));
    lock.set_icon_name(Some("changes-prevent-symbolic"));
    lock.set_tooltip_text(Some(&gettext("Locked")));
    widget.add_suffix(&value);
    widget.add_suffix(&lock);
    widget
}

fn switch(row: &SettingRow, is_on: bool) -> adw::ActionRow {
    let widget = plain(row);
    let switch: gtk::Switch = named("GtkSwitch", &row.title);
    switch.set_active(is_on);
    switch.set_valign(gtk::Align::Center);
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
    accessible::name(&widget, &row.title);
    widget.set_model(Some(&gtk::StringList::new(&texts)));
    widget.set_selected(u32::try_from(chosen).unwrap_or_default());
    let key = row.key.clone();
    widget.connect_selected_notify(move |widget| {
        if let Some(word) = words.get(widget.selected() as usize) {
            change(widget.upcast_ref(), &key, word);
        }
    });
    add_reset(row, |button| widget.add_suffix(button));
    widget
}

fn text(row: &SettingRow) -> adw::EntryRow {
    // There is no room for a whole note beside an entry.
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
    // Where a setting comes from is worth all the lines that it needs.
    widget.set_subtitle_lines(0);
    widget
}

fn add_reset(row: &SettingRow, add: impl FnOnce(&gtk::Button)) {
    if !row.can_reset {
        return;
    }
    let label = gettext("Back to the default");
    let button: gtk::Button = named("GtkButton", &label);
    button.set_icon_name("edit-undo-symbolic");
    button.set_valign(gtk::Align::Center);
    button.set_tooltip_text(Some(&label));
    button.set_action_target(Some(&row.key));
    button.set_action_name(Some("app.reset-setting"));
    button.add_css_class("flat");
    add(&button);
}

fn change(widget: &gtk::Widget, key: &str, value: &str) {
    // The action cannot be missing: the app has it for as long as it runs.
    let _activated = widget.activate_action("app.change-setting", Some(&format!("{key}={value}").to_variant()));
}

/// A widget with a name for those who do not see it. Before GTK 4.10 only layouts can give one.
fn named<T: IsA<gtk::glib::Object> + Default>(class: &str, name: &str) -> T {
    let name = gtk::glib::markup_escape_text(name);
    let layout = format!(
        r#"<interface><object class="{class}" id="it"><accessibility><property name="label">{name}</property></accessibility></object></interface>"#
    );
    // The layout has this object, or the widget goes without its name.
    gtk::Builder::from_string(&layout).object("it").unwrap_or_default()
}
