//! What was typed.

use clap::Parser;

use crate::commands::Command;

/// Sign in to Firezone, and see what it does on this machine
#[derive(Parser, Debug)]
#[command(name = "firezonectl", version, about, after_help = crate::failure::TABLE, max_term_width = 100)]
pub struct Args {
    /// Print the answer as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: Command,
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
