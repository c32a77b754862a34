//! How things look in a terminal.

use std::fmt;

use dbus_api::State;
use unicode_width::UnicodeWidthStr as _;

/// Whether there may be colours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    colours: bool,
}

impl Style {
    /// Colours on a terminal, unless somebody does not want any.
    #[must_use]
    pub fn for_output(is_terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: is_terminal && !unwanted }
    }

    /// A state, as people say it.
    #[must_use]
    pub fn state(&self, state: &State) -> String {
        let (word, colour) = match state {
            State::SignedOut => ("Signed out", ""),
            State::WaitingForNetwork => ("Waiting for network", "33"),
            State::Connecting => ("Connecting", "33"),
            State::Connected => ("Connected", "32"),
            State::Reconnecting => ("Reconnecting", "33"),
            State::SigningOut => ("Signing out", ""),
            State::Other(_) => ("Unknown state", "33"),
        };
        self.paint(word, colour)
    }

    /// Something that needs attention.
    #[must_use]
    pub fn warning(&self, word: &str) -> String {
        self.paint(word, "33")
    }

    /// Something that does not work.
    #[must_use]
    pub fn failure(&self, word: &str) -> String {
        self.paint(word, "31")
    }

    /// Columns as wide as needed, two spaces between them.
    pub fn table<const N: usize>(
        &self,
        out: &mut dyn fmt::Write,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> fmt::Result {
        let mut widths = head.map(str::len);
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(printable(cell).width());
            }
        }
        line(out, head.iter().copied(), &widths)?;
        for row in rows {
            line(out, row.iter().map(String::as_str), &widths)?;
        }
        Ok(())
    }

    /// A line with something in it that comes from outside.
    pub fn line(&self, out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
        writeln!(out, "{}", printable(text))
    }

    fn paint(&self, word: &str, colour: &str) -> String {
        if self.colours && !colour.is_empty() { format!("\x1b[{colour}m{word}\x1b[0m") } else { word.to_owned() }
    }
}

fn line<'a>(out: &mut dyn fmt::Write, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> fmt::Result {
    let mut text = String::new();
    for (cell, width) in cells.zip(widths) {
        let cell = printable(cell);
        text.push_str(&cell);
        let padding = width.saturating_sub(cell.width()) + 2;
        text.extend(std::iter::repeat_n(' ', padding));
    }
    writeln!(out, "{}", text.trim_end())
}

/// Names come from outside; they must neither move the cursor nor turn around what stands beside them.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || turns_around(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether it changes the direction in which text is shown: UAX #9, explicit formatting characters.
fn turns_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_tame() {
        let mut out = String::new();
        let rows = [["a".to_owned(), "long name".to_owned()], ["\x1b[2Jb".to_owned(), String::new()]];
        Style::default().table(&mut out, ["ONE", "TWO"], &rows).unwrap();
        assert_eq!(out, "ONE    TWO\na      long name\n\u{fffd}[2Jb\n");
    }

    #[test]
    fn columns_are_aligned_in_scripts_with_wide_letters() {
        let mut out = String::new();
        let rows = [["维基".to_owned(), "10.0.0.1".to_owned()], ["wiki".to_owned(), "10.0.0.2".to_owned()]];
        Style::default().table(&mut out, ["A", "B"], &rows).unwrap();
        assert_eq!(out, "A     B\n维基  10.0.0.1\nwiki  10.0.0.2\n");
    }

    #[test]
    fn nothing_turns_the_text_around() {
        assert_eq!(printable("safe\u{202e}exe.gpj"), "safe\u{fffd}exe.gpj");
        assert_eq!(printable("مرحبا"), "مرحبا", "languages that are written so do it by themselves");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Style { colours: true }.state(&State::Connected), "\x1b[32mConnected\x1b[0m");
        assert_eq!(Style::default().state(&State::Connected), "Connected");
    }
}
