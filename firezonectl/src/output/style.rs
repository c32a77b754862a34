//! How things look in a terminal.

use std::fmt;

use dbus_api::State;

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
    pub fn state(&self, state: State) -> String {
        let (word, colour) = match state {
            State::SignedOut => ("Signed out", ""),
            State::WaitingForNetwork => ("Waiting for network", "33"),
            State::Connecting => ("Connecting", "33"),
            State::Connected => ("Connected", "32"),
            State::Reconnecting => ("Reconnecting", "33"),
            State::SigningOut => ("Signing out", ""),
            State::Unknown => ("Unknown state", "33"),
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
                *width = (*width).max(printable(cell).chars().count());
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
        let padding = width.saturating_sub(cell.chars().count()) + 2;
        text.extend(std::iter::repeat_n(' ', padding));
    }
    writeln!(out, "{}", text.trim_end())
}

/// Names come from outside; they must not move the cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Style { colours: true }.state(State::Connected), "\x1b[32mConnected\x1b[0m");
        assert_eq!(Style::default().state(State::Connected), "Connected");
    }
}
