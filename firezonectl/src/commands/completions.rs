//! `completions`: what makes a shell complete commands, options, and the names of resources.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use clap_complete::{
    CompletionCandidate,
    env::{EnvCompleter, Fish, Zsh},
};

use super::resources;
use crate::{
    client::Daemon,
    failure::Failure,
    output::{Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
The shell asks firezonectl for each word, so names of resources are those of now.

Example: firezonectl completions bash > ~/.local/share/bash-completion/completions/firezonectl";

/// The variable by which a shell says that it completes.
const VARIABLE: &str = "COMPLETE";
const PROGRAM: &str = "firezonectl";
/// The script that the library has for this shell lets it split and expand names of resources.
const BASH: &str = include_str!("completions.bash");
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
    script: String,
}

pub(super) fn run(args: &Args) -> Result<Completions, Failure> {
    let mut script = Vec::new();
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => return Ok(Completions { script: BASH.to_owned() }),
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(Completions { script: String::from_utf8_lossy(&script).into_owned() })
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
    names().unwrap_or_default().into_iter().map(|it| CompletionCandidate::new(it.name)).collect()
}

impl Show for Completions {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        out.write_str(&self.script)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        Ok(serde_json::json!({ "schema": crate::output::SCHEMA, "script": self.script }))
    }
}
