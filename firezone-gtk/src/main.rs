//! `firezone-gtk`: the desktop app.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use firezone_gtk::{app, autostart};

/// Sign in to Firezone, and see what you can reach
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Start with the session from now on, and exit
    #[arg(long, exclusive = true)]
    register_auto_start: bool,
    /// Do not start with the session any more, and exit
    #[arg(long, exclusive = true)]
    unregister_auto_start: bool,
    /// Start without showing the window
    #[arg(long)]
    background: bool,
    /// The end of a sign-in, as the browser hands it over
    link: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(filter()).with_writer(std::io::stderr).init();
    if rustix::process::geteuid().is_root() {
        tracing::error!("this is for people at their desktops, not for root; see firezonectl(1)");
        return ExitCode::FAILURE;
    }
    match (args.register_auto_start, args.unregister_auto_start) {
        (true, _) => done(autostart::register()),
        (_, true) => done(autostart::unregister()),
        (false, false) => {
            speak();
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

/// The user's language, which GTK chooses when it starts. Without translations all is English.
fn speak() {
    const DOMAIN: &str = "firezone-gtk";
    let outcome = gettextrs::bindtextdomain(DOMAIN, translations(DOMAIN))
        .and_then(|_| gettextrs::bind_textdomain_codeset(DOMAIN, "UTF-8"))
        .and_then(|_| gettextrs::textdomain(DOMAIN));
    if let Err(error) = outcome {
        tracing::debug!("no translations: {error}");
    }
}

/// Where translations are installed: in one of the directories of data, as everything else.
fn translations(domain: &str) -> PathBuf {
    let directories = std::env::var("XDG_DATA_DIRS").unwrap_or_default();
    let places = directories.split(':').filter(|it| it.starts_with('/')).map(|it| Path::new(it).join("locale"));
    places
        .chain(["/usr/local/share/locale".into()])
        .find(|place| place.join("de/LC_MESSAGES").join(format!("{domain}.mo")).is_file())
        .unwrap_or_else(|| "/usr/share/locale".into())
}
