//! What a daemon has logged lately, without what is private.
//!
//! Texts may name anything, so there are none: whoever helps has the source, and finds the text by its place there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Fields whose values are words of ours.
const WORDS: [&str; 4] = ["action", "code", "reason", "state"];
/// How long such a word can be, and how many fields are kept.
const LONGEST_WORD: usize = 40;
const MOST_FIELDS: usize = 8;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLine {
    /// When, in Unix seconds.
    pub at: u64,
    /// `error`, `warn` or `info`.
    pub level: String,
    /// Where in the source, as `firezoned::daemon:326`.
    pub place: String,
    /// Codes and numbers that were logged with it, by the names of their fields.
    pub fields: BTreeMap<String, String>,
}

impl LogLine {
    /// A line without fields.
    #[must_use]
    pub fn new(at: u64, level: &str, module: &str, line: u32) -> Self {
        let level = level.to_lowercase();
        Self { at, level, place: format!("{module}:{line}"), fields: BTreeMap::new() }
    }

    /// Adds a number.
    pub fn number(&mut self, field: &str, value: impl Into<i128>) {
        self.keep(field, value.into().to_string());
    }

    /// Adds what was logged as a text, if that is a word of ours.
    pub fn text(&mut self, field: &str, value: &str) {
        let is_code = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_".contains(it);
        // The actions' names have dots.
        let value = value.strip_prefix("dev.firezone.Client.").unwrap_or(value);
        let is_ours = WORDS.contains(&field) && value.len() <= LONGEST_WORD && value.chars().all(is_code);
        if is_ours && !value.is_empty() {
            self.keep(field, value.to_owned());
        }
    }

    fn keep(&mut self, field: &str, value: String) {
        if self.fields.len() < MOST_FIELDS {
            self.fields.insert(field.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_keeps_codes_and_numbers_only() {
        let mut line = LogLine::new(7, "WARN", "firezoned::daemon", 326);
        line.text("message", "cannot resolve wiki.corp.example");
        line.text("error", "nobody");
        line.text("reason", "portal_tls");
        line.text("action", "dev.firezone.Client.sign-in");
        line.text("state", "connected to 10.0.0.1");
        line.text("code", "Wiki");
        line.number("port", 5353_u16);
        let fields: Vec<_> = line.fields.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
        assert_eq!(fields, [("action", "sign-in"), ("port", "5353"), ("reason", "portal_tls")]);
        assert_eq!((line.level.as_str(), line.place.as_str()), ("warn", "firezoned::daemon:326"));
    }
}
