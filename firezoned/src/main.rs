//! The door of the daemon: arguments, token, logs, run, exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use firezoned::{
    container,
    daemon::{self, Sources},
    identity::Identity,
    process, simulation,
    token::{self, Mode},
};
use settings::{Args, Config, file::ConfigPaths};

/// The exit code that says that this container was not given what it needs. The man page knows it too.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse(); // usage errors exit 2, before anything happened
    let environment = token::take_from_env(); // while there is only one thread

    match start(args, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::log_fatal(&error);
            if error.is::<container::Incomplete>() { ExitCode::from(INCOMPLETE) } else { ExitCode::FAILURE }
        }
    }
}

fn start(args: Args, tokens: token::Environment) -> anyhow::Result<()> {
    process::keep_secrets().context("keep secrets out of core dumps")?;
    if args.simulation.sim {
        return simulation::start(args);
    }
    let config = Config::load(&args, std::env::var_os, &ConfigPaths::default()).context("read configuration")?;
    let logs = logging::start(&config.log_filter)?;
    if args.cleanup {
        return process::runtime()?.block_on(daemon::clean_up(&config));
    }
    let tokens = tokens.with_path(config.token_path.clone());
    let mode = token::find(&tokens).context("find a token")?;
    anyhow::ensure!(
        !(config.no_ipc && matches!(mode, Mode::User)),
        "find a token: there is none: set FIREZONE_TOKEN, or put it into {}",
        tokens.path().display()
    );
    if args.check {
        Identity::discover(config.id.as_deref(), config.name.as_deref()).context("find out who we are")?;
        return Ok(());
    }
    if tokens.is_container() {
        container::inspect()?;
    }
    for flag in args.ignored() {
        tracing::warn!("{flag} has no meaning here and is ignored");
    }
    process::runtime()?.block_on(daemon::run(config, mode, Sources { args, tokens, logs }))
}
