//! `settings`: what the daemon was told, by whom, and what may be changed.

use std::fmt;

use dbus_api::Setting;
use serde::Serialize;

use super::Surroundings;
use crate::{
    client::Bus,
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
What an administrator has set in a file, a variable or an argument is locked here.

Example: firezonectl settings set internet-resource true";

/// What was typed after `settings`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Show all of them, or one
    Get {
        /// Which one
        key: Option<String>,
    },
    /// Change one
    Set {
        /// Which one
        key: String,
        /// What it shall be
        value: String,
    },
    /// Make some as if nobody had changed them
    Reset {
        /// Which ones
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// The settings.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    schema: u32,
    settings: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    key: String,
    #[serde(flatten)]
    setting: Setting,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Settings, Failure> {
    let bus = around.commanding()?;
    match &args.what {
        None | Some(What::Get { key: None }) => all(bus, |_| true).await,
        Some(What::Get { key: Some(key) }) => {
            let found = all(bus, |it| it == key).await?;
            if found.settings.is_empty() {
                return Err(Failure::NotFound(format!("there is no setting {key:?} (see: firezonectl settings)")));
            }
            Ok(found)
        }
        Some(What::Set { key, value }) => {
            bus.set(key, value).await?;
            all(bus, |it| it == key).await
        }
        Some(What::Reset { keys }) => {
            bus.unset(keys.clone()).await?;
            all(bus, |it| keys.iter().any(|key| key == it)).await
        }
    }
}

async fn all(bus: &Bus, wanted: impl Fn(&str) -> bool) -> Result<Settings, Failure> {
    let settings = bus.settings().await?.into_iter().filter(|(key, _)| wanted(key));
    let settings = settings.map(|(key, setting)| Entry { key, setting });
    Ok(Settings { schema: SCHEMA, settings: settings.collect() })
}

impl Show for Settings {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        let row = |Entry { key, setting: it }: &Entry| {
            let source = if it.source.is_empty() { "default" } else { &it.source };
            let lock = if it.locked { "locked" } else { "" };
            [key.clone(), it.value.clone(), source.to_owned(), lock.to_owned()]
        };
        let rows: Vec<[String; 4]> = self.settings.iter().map(row).collect();
        style.table(out, ["KEY", "VALUE", "FROM", ""], &rows)
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    fn lines(&self) -> Option<&'static str> {
        Some("settings")
    }
}
