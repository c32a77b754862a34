//! What was typed.

use clap::Parser;

use crate::{commands::Command, failure::Failure, output::Format};

/// All verbs on one screen of 24 lines. What is said of all of them at length is in the manual.
const HELP: &str = "\
{usage-heading} firezonectl [--json | -t -f FIELD,...] COMMAND [ARGUMENT...]

{subcommands}

Each command has --help. JSON, scripts and exit codes: man firezonectl
";

/// Where the help of a verb shows what all verbs have: behind what is its own.
const LAST: usize = 500;

/// Sign in to Firezone, and see what it does on this machine
#[derive(Parser, Debug)]
#[command(name = "firezonectl", version, about, help_template = HELP, disable_help_subcommand = true, max_term_width = 100)]
pub struct Args {
    /// Print the answer as JSON, for programs
    #[arg(long, global = true, display_order = LAST)]
    pub json: bool,

    /// Print the fields of --fields, separated by colons, for scripts
    #[arg(short, long, global = true, conflicts_with = "json", display_order = LAST)]
    pub terse: bool,

    /// Which keys of the JSON --terse prints
    #[arg(short, long, global = true, value_name = "FIELD,...", value_delimiter = ',', display_order = LAST)]
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
    fn the_help_of_each_verb_is_set_by_the_width_of_the_screen() {
        for verb in Args::command().get_subcommands() {
            let text = verb.get_after_help().unwrap().to_string();
            let is_whole = |line: &str| line.is_empty() || line.starts_with("Example: ") || line.ends_with('.');
            assert!(text.lines().all(is_whole), "{text}");
        }
    }

    #[test]
    fn what_all_verbs_have_is_behind_what_is_a_verbs_own() {
        let mut program = Args::command();
        program.build();
        let help = program.find_subcommand_mut("wait").unwrap().render_help().to_string();
        let place = |option: &str| help.find(option).unwrap();
        assert!(place("--patient") < place("--json") && place("--fields") < place("--help"), "{help}");
    }

    #[test]
    fn help_fits_one_screen() {
        for help in [Args::command().render_help(), Args::command().render_long_help()] {
            let help = help.to_string();
            // The prompt needs a line, too.
            assert!(help.lines().count() < 24 && help.lines().all(|line| line.len() <= 80), "{help}");
            for verb in Args::command().get_subcommands() {
                assert!(help.contains(&format!("  {} ", verb.get_name())), "{help}");
            }
        }
    }
}
