//! Shows an answer: to people, whose output may change, or to programs, whose JSON only grows.

mod style;
pub mod words;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

pub use style::Style;

use crate::failure::Failure;

/// The number of the JSON format. Keys are only added under the same number.
pub const SCHEMA: u32 = 1;

/// An answer that can be shown.
pub trait Show {
    /// For people.
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result;

    /// For programs.
    fn json(&self) -> serde_json::Result<serde_json::Value>;

    /// Whether only the exit code was asked for.
    fn is_silent(&self) -> bool {
        false
    }

    /// What the exit code says about an answer that is there.
    fn failure(&self) -> Option<Failure> {
        None
    }
}

/// The answer as text.
pub fn render(answer: &dyn Show, json: bool, style: &Style) -> Result<String, Failure> {
    if answer.is_silent() {
        return Ok(String::new());
    }
    if json {
        let value = answer.json().map_err(|error| Failure::Failed(error.to_string()))?;
        return Ok(format!("{value:#}\n"));
    }
    let mut text = String::new();
    answer.human(&mut text, style).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(text)
}

/// Prints the answer. A reader that has had enough is no failure.
pub fn print(answer: &dyn Show, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let style = Style::for_output(out.is_terminal());
    let text = render(answer, json, &style)?;
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
