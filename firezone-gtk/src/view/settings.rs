//! The daemon's settings: their values, their source, and whether they can be changed.

use dbus_api::{Setting, settings::Change};
use gettextrs::gettext;

use crate::model::Model;

/// One setting, as displayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingRow {
    /// The daemon's key.
    pub key: String,
    /// The label.
    pub title: String,
    /// The value: as the daemon writes it if it can be typed, otherwise in words.
    pub value: String,
    /// Where the value comes from.
    pub source: String,
    /// The source, whether it can be changed, and when a change takes effect.
    pub note: String,
    /// How it is changed.
    pub editor: Editor,
    /// Whether it was changed by a user and can be reset to its default.
    pub can_reset: bool,
}

/// How a setting is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Editor {
    /// It cannot be changed here, or not by this user.
    Locked,
    /// On or off.
    Switch(bool),
    /// One of these values of the daemon; the index is the selected one.
    Choice(&'static [&'static str], usize),
    /// Free text; the daemon validates it.
    Text,
}

/// The values of `dns-control`.
const DNS_CONTROL: &[&str] = &["auto", "systemd-resolved", "etc-resolv-conf", "disabled"];
/// The order of the settings. Unknown ones follow, sorted by key.
const ORDER: [&str; 10] = [
    "name",
    "internet-resource",
    "dns-control",
    "max-partition-time",
    "log-filter",
    "account-slug",
    "auth-url",
    "api-url",
    "id",
    "token-path",
];

/// All settings of the daemon, those that can be changed first.
#[must_use]
pub fn rows(model: &Model) -> Vec<SettingRow> {
    let may_configure = model.session().is_some_and(|session| session.may_configure);
    let mut settings: Vec<(&String, &Setting)> = model.settings.iter().collect();
    settings.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
    settings.into_iter().map(|(key, setting)| row(key, setting, may_configure)).collect()
}

fn row(key: &str, setting: &Setting, may_configure: bool) -> SettingRow {
    let is_open = !setting.locked && may_configure;
    let editor = if is_open { editor(key, &setting.value) } else { Editor::Locked };
    SettingRow {
        key: key.to_owned(),
        title: title(key),
        value: if editor == Editor::Text { setting.value.clone() } else { value(key, &setting.value) },
        source: source(setting),
        note: note(setting, may_configure),
        editor,
        can_reset: is_open && !setting.source.is_empty(),
    }
}

fn editor(key: &str, value: &str) -> Editor {
    match key {
        "internet-resource" => Editor::Switch(is_on(value)),
        "dns-control" => match DNS_CONTROL.iter().position(|word| *word == value) {
            Some(chosen) => Editor::Choice(DNS_CONTROL, chosen),
            None => Editor::Text,
        },
        _ => Editor::Text,
    }
}

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1")
}

fn value(key: &str, value: &str) -> String {
    match (key, value) {
        ("internet-resource", value) if is_on(value) => gettext("On"),
        ("internet-resource", _) => gettext("Off"),
        ("account-slug", "") => gettext("Chosen at sign-in"),
        ("id", "") => gettext("Derived from this computer"),
        ("name", "") => gettext("The name of this computer"),
        ("max-partition-time", "") => gettext("No limit"),
        (_, "") => gettext("Not set"),
        (_, value) => value.to_owned(),
    }
}

fn source(setting: &Setting) -> String {
    match (setting.source.as_str(), setting.locked) {
        ("", _) => gettext("Default"),
        // Translators: {source} is a file and its line, a variable or an argument.
        (source, true) => gettext("Set by the administrator: {source}").replace("{source}", source),
        (_, false) => gettext("Changed here"),
    }
}

fn note(setting: &Setting, may_configure: bool) -> String {
    let source = source(setting);
    let lock = match (setting.locked, may_configure) {
        (true, _) => gettext("Locked"),
        (false, false) => gettext("You don't have permission to change this"),
        (false, true) if setting.change == Change::NextStart => gettext("Takes effect after the service restarts"),
        (false, true) => String::new(),
    };
    if lock.is_empty() { source } else { format!("{source} · {lock}") }
}

fn title(key: &str) -> String {
    match key {
        "api-url" => gettext("Portal URL"),
        "auth-url" => gettext("Sign-in URL"),
        "account-slug" => gettext("Account ID for all users"),
        "token-path" => gettext("Token file"),
        "id" => gettext("Device ID"),
        "name" => gettext("Device name"),
        "dns-control" => gettext("DNS control"),
        "internet-resource" => gettext("Internet resource at start"),
        "log-filter" => gettext("Log filter"),
        "max-partition-time" => gettext("Keep tunnel without portal for (e.g. 5m)"),
        other => other.to_owned(),
    }
}

/// A value of a choice, in words.
#[must_use]
pub fn choice(word: &str) -> String {
    match word {
        "auto" => gettext("Automatic"),
        "disabled" => gettext("Do not change DNS settings"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Daemon, Session};

    fn model(may_configure: bool, settings: &[(&str, &str, &str, bool)]) -> Model {
        let session = Session { may_configure, ..Session::default() };
        let setting = |(key, value, source, locked): &(&str, &str, &str, bool)| {
            let setting = Setting {
                value: (*value).to_owned(),
                source: (*source).to_owned(),
                locked: *locked,
                change: "at-once".into(),
                ..Setting::default()
            };
            ((*key).to_owned(), setting)
        };
        Model {
            daemon: Daemon::Serving(Box::new(session)),
            settings: settings.iter().map(setting).collect(),
            ..Model::default()
        }
    }

    #[test]
    fn administrators_setting_is_locked_and_shows_its_source() {
        let place = "/etc/dev.firezone.client/firezoned.toml:3";
        let row = rows(&model(true, &[("log-filter", "debug", place, true)])).remove(0);
        assert_eq!((row.editor, row.can_reset), (Editor::Locked, false));
        assert!(row.note.contains(place) && row.note.contains("Locked"), "{}", row.note);
    }

    #[test]
    fn changeable_setting_has_a_matching_editor() {
        let settings = [
            ("internet-resource", "true", "", false),
            ("dns-control", "disabled", "", false),
            ("name", "x", "f:1", false),
        ];
        let rows = rows(&model(true, &settings));
        let editor = |key: &str| rows.iter().find(|row| row.key == key).map(|row| (row.editor.clone(), row.can_reset));
        assert_eq!(editor("internet-resource"), Some((Editor::Switch(true), false)));
        assert_eq!(editor("dns-control"), Some((Editor::Choice(DNS_CONTROL, 3), false)));
        assert_eq!(editor("name"), Some((Editor::Text, true)));
    }

    #[test]
    fn without_permission_all_settings_are_locked() {
        let rows = rows(&model(false, &[("name", "box", "", false), ("new-in-a-later-version", "1", "", false)]));
        assert!(rows.iter().all(|row| row.editor == Editor::Locked && !row.can_reset));
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["name", "new-in-a-later-version"]);
    }
}
