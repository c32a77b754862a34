//! What was typed.

use clap::Parser;

use crate::{commands::Command, failure::Failure, output::Format};

/// Sign in to Firezone, and see what it does on this machine
#[derive(Parser, Debug)]
#[command(name = "firezonectl", version, about, after_help = crate::failure::summary(), max_term_width = 100)]
pub struct Args {
    /// Print the answer as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,

    /// Print the fields of --fields, separated by colons, for scripts
    #[arg(short, long, global = true, conflicts_with = "json")]
    pub terse: bool,

    /// Which keys of the JSON --terse prints
    #[arg(short, long, global = true, value_name = "FIELD,...", value_delimiter = ',')]
    pub fields: Vec<String>,

    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// Who is to read the answer.
    pub fn format(&self) -> Result<Format, Failure> {
        match (self.json, self.terse, self.fields.as_slice()) {
            (true, ..) => Ok(Format::Json),
            (_, true, []) => Err(Failure::Usage("--terse needs --fields, as in: -t -f state".to_owned())),
            (_, true, fields) => Ok(Format::Terse(fields.to_vec())),
            (_, false, []) => Ok(Format::Human),
            (_, false, _) => Err(Failure::Usage("--fields is for --terse".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_token_cannot_be_typed() {
        for typed in [&["firezonectl", "sign-in", "n.fragment"][..], &["firezonectl", "sign-in", "--token=n.fragment"]]
        {
            assert_eq!(Args::try_parse_from(typed).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn help_fits_one_screen() {
        let help = Args::command().render_help().to_string();
        assert!(help.lines().count() <= 40, "{help}");
    }
}
