//! Shows an answer: to people, whose output may change, to programs, whose JSON only grows, or to scripts, line by line.

pub mod spinner;
mod style;
pub mod terse;
pub mod words;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

pub use style::{Style, printable};

use crate::failure::Failure;

/// The number of the JSON format. Keys are only added under the same number.
pub const SCHEMA: u32 = 1;

/// An answer that can be shown.
pub trait Show {
    /// For people.
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result;

    /// For programs.
    fn json(&self) -> serde_json::Result<serde_json::Value>;

    /// Which key of the JSON has what scripts get one line each of; nothing means that the answer is one line.
    fn lines(&self) -> Option<&'static str> {
        None
    }

    /// Whether only the exit code was asked for.
    fn is_silent(&self) -> bool {
        false
    }

    /// What the exit code says about an answer that is there.
    fn failure(&self) -> Option<Failure> {
        None
    }
}

/// Who is to read the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// People.
    Human,
    /// Programs, all of it.
    Json,
    /// Scripts, these keys of it.
    Terse(Vec<String>),
}

/// Where answers go.
pub trait Out {
    /// Shows one.
    fn show(&mut self, answer: &dyn Show) -> Result<(), Failure>;

    /// Says something beside the answer, to people only.
    fn remark(&mut self, text: &str);
}

/// Standard output, and standard error for remarks.
#[derive(Debug)]
pub struct Terminal {
    /// Who reads.
    pub format: Format,
    /// Whether each answer is one of many, and takes one line.
    pub streaming: bool,
}

impl Out for Terminal {
    /// A reader that has had enough is no failure, but the end.
    fn show(&mut self, answer: &dyn Show) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let style = Style::for_output(out.is_terminal());
        let text = render(answer, &self.format, self.streaming, &style)?;
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
            result => Ok(result?),
        }
    }

    fn remark(&mut self, text: &str) {
        // Where there is nobody to tell, there is nothing to do.
        let _told = writeln!(io::stderr(), "firezonectl: {text}");
    }
}

/// The answer as text.
pub fn render(answer: &dyn Show, format: &Format, streaming: bool, style: &Style) -> Result<String, Failure> {
    if answer.is_silent() {
        return Ok(String::new());
    }
    let json = || answer.json().map_err(|error| Failure::Failed(error.to_string()));
    match format {
        Format::Json if streaming => Ok(format!("{}\n", json()?)),
        Format::Json => Ok(format!("{:#}\n", json()?)),
        Format::Terse(fields) => terse::render(&json()?, answer.lines(), fields),
        Format::Human => {
            let mut text = String::new();
            answer.human(&mut text, style).map_err(|error| Failure::Failed(error.to_string()))?;
            Ok(text)
        }
    }
}
