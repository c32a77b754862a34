//! `internet`: the Internet resource, on or off.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::Surroundings;
use crate::{
    failure::Failure,
    output::{SCHEMA, Show, Style},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
Without on or off it is shown what is the case. It is used only if the account has one.

Example: firezonectl internet on";

/// What was typed after `internet`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What it shall be
    #[arg(value_name = "on|off")]
    wanted: Option<Switch>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    /// Everything that no other resource reaches goes through it
    On,
    /// It is not used
    Off,
}

/// What is the case.
#[derive(Debug, Serialize)]
pub(super) struct Internet {
    schema: u32,
    internet_resource_active: bool,
}

pub(super) async fn run(args: &Args, around: &Surroundings<'_>) -> Result<Internet, Failure> {
    let active = match args.wanted {
        Some(switch) => {
            let active = matches!(switch, Switch::On);
            around.commanding()?.set_internet_resource(active).await?;
            active
        }
        None => around.daemon()?.internet_resource_active().await?,
    };
    Ok(Internet { schema: SCHEMA, internet_resource_active: active })
}

impl Show for Internet {
    fn human(&self, out: &mut dyn fmt::Write, _style: &Style) -> fmt::Result {
        writeln!(out, "The Internet resource is {}", if self.internet_resource_active { "on" } else { "off" })
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }
}
