//! `firezone-gtk`: the desktop app.

use std::process::ExitCode;

use clap::Parser;
use firezone_gtk::{app, autostart, strings};

/// Sign in to Firezone and see your resources
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Start Firezone at login from now on, and exit
    #[arg(long, exclusive = true)]
    register_auto_start: bool,
    /// Stop starting Firezone at login, and exit
    #[arg(long, exclusive = true)]
    unregister_auto_start: bool,
    /// Start without showing the window
    #[arg(long)]
    background: bool,
    /// The link with which the browser completes a sign-in
    link: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(filter()).with_writer(std::io::stderr).init();
    if rustix::process::geteuid().is_root() {
        tracing::error!("the desktop app is not for root; use firezonectl(1)");
        return ExitCode::FAILURE;
    }
    match (args.register_auto_start, args.unregister_auto_start) {
        (true, _) => done(autostart::register()),
        (_, true) => done(autostart::unregister()),
        (false, false) => {
            strings::init_locale();
            let links: Vec<String> = args.link.into_iter().collect();
            match app::run(&links, args.background).get() {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}

fn done(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
