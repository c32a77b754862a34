//! `completions`: what makes a shell complete commands, options, and the names of resources.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use clap_complete::CompletionCandidate;

use super::resources;
use crate::{
    client::Daemon,
    output::{Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
The shell asks firezonectl for each word, so names of resources are those of now.

Example: firezonectl completions bash > ~/.local/share/bash-completion/completions/firezonectl";

/// The scripts that the library has pass words on as they are quoted, so names of resources that need quotation marks are
/// not found; that for bash splits and expands what it is answered, too.
const BASH: &str = include_str!("completions.bash");
const ZSH: &str = include_str!("completions.zsh");
const FISH: &str = include_str!("completions.fish");
/// Nobody waits longer for a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was typed after `completions`.
#[derive(clap::Args, Debug)]
pub struct Args {
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A script for a shell.
#[derive(Debug)]
pub(super) struct Completions {
    script: &'static str,
}

pub(super) fn run(args: &Args) -> Completions {
    Completions {
        script: match args.shell {
            Shell::Bash => BASH,
            Shell::Zsh => ZSH,
            Shell::Fish => FISH,
        },
    }
}

/// The names of the resources, for a shell. Whatever goes wrong, there are none.
pub(super) fn resources() -> Vec<CompletionCandidate> {
    let names = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let names = async {
            let daemon = Daemon::find().await.ok()?;
            resources::all(&daemon, None).await.ok()
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, names).await }).ok().flatten()
    };
    // What shells are told is one candidate a line.
    let names = names().unwrap_or_default().into_iter().map(|it| it.name);
    names.filter(|it| !it.contains(char::is_control)).map(CompletionCandidate::new).collect()
}

impl Show for Completions {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        out.write_str(self.script)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        Ok(serde_json::json!({ "schema": crate::output::SCHEMA, "script": self.script }))
    }
}
