//! The entry point: arguments, token, logs, the daemon, exit code.

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

/// The exit code for a container without the required privileges, as in the manual page.
const INCOMPLETE_CONTAINER: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse(); // Usage errors exit with code 2.
    let environment = token::take_from_env(); // While there is only one thread.

    match start(args, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::log_fatal(&error);
            if error.is::<container::IncompleteContainer>() {
                ExitCode::from(INCOMPLETE_CONTAINER)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn start(args: Args, tokens: token::Environment) -> anyhow::Result<()> {
    process::disable_core_dumps().context("disable core dumps")?;
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
        Identity::discover(config.id.as_deref(), config.name.as_deref())
            .context("determine the identity of this device")?;
        return Ok(());
    }
    if tokens.is_container() {
        container::check()?;
    }
    for flag in args.ignored() {
        tracing::warn!("{flag} is ignored");
    }
    process::runtime()?.block_on(daemon::run(config, mode, Sources { args, tokens, logs }))
}
