//! One file each: ask the daemon, build an answer. A command never prints, except those that go on for ever.

mod browser;
mod completions;
mod connect;
mod disconnect;
mod dns;
mod doctor;
mod internet;
mod kept;
mod log_level;
mod monitor;
mod path;
mod report;
mod reset;
mod resource;
mod resources;
mod session;
mod settings;
mod sign_in;
mod sign_out;
mod status;
mod wait;

use std::time::Duration;

use clap::Subcommand;

use crate::{
    client::{Bus, Daemon},
    failure::Failure,
    output::{Out, Show},
};

/// What can be asked for.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Sign in, with a browser or a token
    #[command(after_help = sign_in::HELP)]
    SignIn(sign_in::Args),
    /// Connect with the token that is kept
    #[command(after_help = connect::HELP)]
    Connect(connect::Args),
    /// Disconnect, and keep the token
    #[command(after_help = disconnect::HELP)]
    Disconnect(disconnect::Args),
    /// Sign out, and forget the token
    #[command(after_help = sign_out::HELP)]
    SignOut(sign_out::Args),
    /// Show whether this machine is connected, and how
    #[command(after_help = status::HELP)]
    Status(status::Args),
    /// List what can be reached
    #[command(after_help = resources::HELP)]
    Resources(resources::Args),
    /// Show one of them
    #[command(after_help = resource::HELP)]
    Resource(resource::Args),
    /// Show whom this machine asks for names, and why
    #[command(after_help = dns::HELP)]
    Dns(dns::Args),
    /// Switch the Internet resource on or off
    #[command(after_help = internet::HELP)]
    Internet(internet::Args),
    /// Rebuild all connections, as after a change of network
    #[command(after_help = reset::HELP)]
    Reset(reset::Args),
    /// Show how a resource is reached
    #[command(after_help = path::HELP)]
    Path(path::Args),
    /// Look for what may be wrong on this machine
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Args),
    /// Write down what helps others to help, without names and addresses
    #[command(after_help = report::HELP)]
    Report(report::Args),
    /// Print a line for each change
    #[command(after_help = monitor::HELP)]
    Monitor(monitor::Args),
    /// Wait until something is so
    #[command(after_help = wait::HELP)]
    Wait(wait::Args),
    /// Show or change the daemon's settings
    #[command(after_help = settings::HELP)]
    Settings(settings::Args),
    /// Change what the daemon logs, for a while
    #[command(after_help = log_level::HELP)]
    LogLevel(log_level::Args),
    /// Print what makes a shell complete commands and names
    #[command(after_help = completions::HELP)]
    Completions(completions::Args),
}

/// What a command finds around it.
pub struct Surroundings<'a> {
    daemon: Result<Daemon, Failure>,
    /// Whether the user's keyring may be asked.
    has_keyring: bool,
    out: &'a mut dyn Out,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

impl<'a> Surroundings<'a> {
    /// What a program that a person has started finds.
    pub async fn of_this_process(out: &'a mut dyn Out) -> Self {
        Self { daemon: Daemon::find().await, has_keyring: true, out }
    }

    /// This daemon, and nothing else.
    pub fn with(daemon: Daemon, out: &'a mut dyn Out) -> Self {
        Self { daemon: Ok(daemon), has_keyring: false, out }
    }

    /// The daemon, wherever it was found.
    fn daemon(&self) -> Result<&Daemon, Failure> {
        self.daemon.as_ref().map_err(Clone::clone)
    }

    /// The daemon, if it takes commands.
    fn commanding(&self) -> Result<&Bus, Failure> {
        self.daemon()?.commanding()
    }
}

/// Carries out a command. Those that go on for ever have no answer: they show what happens as it happens.
pub async fn run(command: &Command, around: &mut Surroundings<'_>) -> Result<Option<Box<dyn Show>>, Failure> {
    if let Ok(daemon) = &around.daemon
        && let Some(remark) = daemon.remark().await
    {
        around.out.remark(&remark);
    }
    Ok(Some(match command {
        Command::SignIn(args) => Box::new(sign_in::run(args, around).await?),
        Command::Connect(args) => Box::new(connect::run(args, around).await?),
        Command::Disconnect(args) => Box::new(disconnect::run(args, around).await?),
        Command::SignOut(args) => Box::new(sign_out::run(args, around).await?),
        Command::Status(args) => Box::new(status::run(args, around.daemon()?).await?),
        Command::Resources(args) => Box::new(resources::run(args, around.daemon()?).await?),
        Command::Resource(args) => Box::new(resource::run(args, around.daemon()?).await?),
        Command::Dns(args) => dns::run(args, around.commanding()?).await?,
        Command::Internet(args) => Box::new(internet::run(args, around).await?),
        Command::Reset(args) => Box::new(reset::run(args, around).await?),
        Command::Path(args) => Box::new(path::run(args, around).await?),
        Command::Doctor(args) => Box::new(doctor::run(args, around).await?),
        Command::Report(args) => Box::new(report::run(args, around).await?),
        Command::Settings(args) => Box::new(settings::run(args, around).await?),
        Command::LogLevel(args) => Box::new(log_level::run(args, around).await?),
        Command::Wait(args) => Box::new(wait::run(args, around).await?),
        Command::Completions(args) => Box::new(completions::run(args)),
        Command::Monitor(_) => {
            monitor::run(around).await?;
            return Ok(None);
        }
    }))
}

impl Command {
    /// Whether it shows what happens as it happens, one line each.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        matches!(self, Self::Monitor(_))
    }

    /// What is being done meanwhile, if that may take its time.
    #[must_use]
    pub fn pastime(&self) -> Option<&'static str> {
        match self {
            Self::SignIn(_) => Some("Signing in"),
            Self::Connect(_) => Some("Connecting"),
            Self::Disconnect(_) => Some("Disconnecting"),
            Self::SignOut(_) => Some("Signing out"),
            Self::Doctor(_) | Self::Report(_) => Some("Looking"),
            Self::Wait(_) => Some("Waiting"),
            Self::Monitor(_) | Self::Completions(_) => None,
            Self::Status(_)
            | Self::Resources(_)
            | Self::Resource(_)
            | Self::Dns(_)
            | Self::Internet(_)
            | Self::Reset(_)
            | Self::Path(_)
            | Self::Settings(_)
            | Self::LogLevel(_) => Some("Asking the daemon"),
        }
    }
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
