//! `status`: am I connected, as whom, and if not, what should I do.

use std::fmt;

use dbus_api::{Mode, State, Status};
use serde::Serialize;

use crate::{
    client::Daemon,
    failure::Failure,
    output::{SCHEMA, Show, Style, words},
};

/// Shown below the options.
pub(super) const HELP: &str = "\
The exit code is 0 if connected, and 5 if not.

Example: firezonectl status --quiet || firezonectl sign-in";

/// What was typed after `status`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    schema: u32,
    mode: Mode,
    version: String,
    internet_resource_active: bool,
    #[serde(flatten)]
    status: Status,
    #[serde(skip)]
    quiet: bool,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Answer, Failure> {
    let quiet = args.quiet;
    Ok(match daemon {
        Daemon::Serving(bus) => Answer {
            schema: SCHEMA,
            status: bus.status().await?,
            mode: Mode::User,
            version: bus.version().await?,
            internet_resource_active: bus.internet_resource_active().await?,
            quiet,
        },
        Daemon::Managed(file) => Answer {
            schema: SCHEMA,
            mode: file.mode.clone(),
            version: file.version.clone(),
            internet_resource_active: file.internet_resource_active,
            status: file.status.clone(),
            quiet,
        },
    })
}

impl Show for Answer {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        if self.quiet {
            return Ok(());
        }
        let it = &self.status;
        write!(out, "{}", style.state(&it.state))?;
        match (&it.actor_name, &it.account_slug) {
            (Some(actor), Some(account)) => write!(out, " as {actor} ({account})")?,
            (Some(who), None) | (None, Some(who)) => write!(out, " as {who}")?,
            (None, None) if self.mode == Mode::Service => write!(out, " as a service")?,
            (None, None) => {}
        }
        if let Some(reason) = &it.reason {
            write!(out, ": {}", words::reason(reason))?;
        }
        writeln!(out)?;
        if let Some(remedy) = words::remedy(&it.phase(), &self.mode) {
            writeln!(out, "  to do      {remedy}")?;
        }
        if let (Some(v4), Some(v6)) = (&it.tunnel_ipv4, &it.tunnel_ipv6) {
            writeln!(out, "  addresses  {v4}, {v6}")?;
        }
        for gateway in it.gateways.iter().flatten() {
            write!(out, "  gateway    {} {}", gateway.id, gateway.path)?;
            if let Some(seconds) = gateway.last_handshake_seconds {
                write!(out, ", last handshake {} ago", words::duration(seconds))?;
            }
            if let (Some(sent), Some(received)) = (gateway.sent_bytes, gateway.received_bytes) {
                write!(out, ", {} sent, {} received", words::size(sent), words::size(received))?;
            }
            writeln!(out)?;
        }
        for device in it.devices.iter().flatten() {
            let name = device.name.as_deref().unwrap_or(&device.id);
            writeln!(out, "  device     {name} {}, {}", device.tunnel_ipv4, device.tunnel_ipv6)?;
        }
        for warning in &it.warnings {
            writeln!(out, "  {}    {}", style.warning("warning"), warning.text)?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(self)
    }

    fn is_silent(&self) -> bool {
        self.quiet
    }

    fn failure(&self) -> Option<Failure> {
        (self.status.state != State::Connected).then_some(Failure::NotConnected)
    }
}
