//! One file each: ask the daemon, build an answer. A command never prints.

mod resources;
mod sign_in;
mod sign_out;
mod status;

use std::time::Duration;

use clap::Subcommand;

use crate::{client::Daemon, failure::Failure, output::Show};

/// What can be asked for.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Sign in with a token
    #[command(after_help = sign_in::HELP)]
    SignIn(sign_in::Args),
    /// Sign out
    #[command(after_help = sign_out::HELP)]
    SignOut(sign_out::Args),
    /// Show whether this machine is connected, and how
    #[command(after_help = status::HELP)]
    Status(status::Args),
    /// List what can be reached
    #[command(after_help = resources::HELP)]
    Resources(resources::Args),
}

/// Carries out a command.
pub async fn run(command: &Command, daemon: &Daemon) -> Result<Box<dyn Show>, Failure> {
    Ok(match command {
        Command::SignIn(args) => Box::new(sign_in::run(args, daemon).await?),
        Command::SignOut(args) => Box::new(sign_out::run(args, daemon).await?),
        Command::Status(args) => Box::new(status::run(args, daemon).await?),
        Command::Resources(args) => Box::new(resources::run(args, daemon).await?),
    })
}

/// `--wait`, `--wait SECONDS`.
#[derive(clap::Args, Debug)]
struct Wait {
    /// Wait until it is done, at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    wait: Option<u64>,
}

impl Wait {
    fn limit(&self) -> Option<Duration> {
        self.wait.map(Duration::from_secs)
    }
}
