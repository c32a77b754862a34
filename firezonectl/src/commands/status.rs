//! `status`: am I connected, as whom, and if not, what should I do.

use std::fmt;

use dbus_api::State;
use serde::Serialize;

use crate::{
    client::{Bus, Daemon},
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

/// All that is known.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    schema: u32,
    /// `user` or `service`.
    mode: String,
    version: String,
    state: String,
    reason: String,
    since: Option<u64>,
    account_slug: Option<String>,
    actor_name: Option<String>,
    /// The user who asked for the session or its end; not known in service mode, where nobody did.
    asked_by: Option<String>,
    tunnel_ipv4: Option<String>,
    tunnel_ipv6: Option<String>,
    portal: String,
    portal_error: Option<String>,
    internet_resource_active: bool,
    /// Not known in service mode.
    gateways: Option<Vec<Gateway>>,
    /// Not known in service mode.
    devices: Option<Vec<Device>>,
    warnings: Vec<Warning>,
    #[serde(skip)]
    quiet: bool,
}

#[derive(Debug, Serialize)]
struct Gateway {
    id: String,
    /// `direct`, `relayed` or `connecting`.
    path: String,
    last_handshake_seconds: Option<u64>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Device {
    id: String,
    name: Option<String>,
    tunnel_ipv4: String,
    tunnel_ipv6: String,
    pools: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Warning {
    code: String,
    text: String,
}

pub(super) async fn run(args: &Args, daemon: &Daemon) -> Result<Status, Failure> {
    let status = match daemon {
        Daemon::Serving(bus) => from_bus(bus).await?,
        Daemon::Managed(file) => from_file(file),
    };
    Ok(Status { quiet: args.quiet, ..status })
}

async fn from_bus(bus: &Bus) -> Result<Status, Failure> {
    let it = bus.status().await?;
    Ok(Status {
        schema: SCHEMA,
        mode: "user".to_owned(),
        version: bus.version().await?,
        state: it.state,
        reason: it.reason,
        since: it.since,
        account_slug: it.account_slug,
        actor_name: it.actor_name,
        asked_by: it.asked_by,
        tunnel_ipv4: it.tunnel_ipv4,
        tunnel_ipv6: it.tunnel_ipv6,
        portal: it.portal,
        portal_error: it.portal_error,
        internet_resource_active: bus.internet_resource_active().await?,
        gateways: Some(
            it.gateways
                .into_iter()
                .map(|it| Gateway {
                    id: it.id,
                    path: it.path,
                    last_handshake_seconds: it.last_handshake,
                    sent_bytes: it.sent_bytes,
                    received_bytes: it.received_bytes,
                })
                .collect(),
        ),
        devices: Some(
            it.devices
                .into_iter()
                .map(|it| Device {
                    id: it.id,
                    name: it.name,
                    tunnel_ipv4: it.tunnel_ipv4,
                    tunnel_ipv6: it.tunnel_ipv6,
                    pools: it.pools,
                })
                .collect(),
        ),
        warnings: it.warnings.into_iter().map(|it| Warning { code: it.code, text: it.text }).collect(),
        quiet: false,
    })
}

fn from_file(file: &dbus_api::StatusFile) -> Status {
    Status {
        schema: SCHEMA,
        mode: file.mode.clone(),
        version: file.version.clone(),
        state: file.state.clone(),
        reason: file.reason.clone(),
        since: Some(file.since),
        account_slug: file.account_slug.clone(),
        actor_name: file.actor_name.clone(),
        asked_by: None,
        tunnel_ipv4: file.tunnel_ipv4.clone(),
        tunnel_ipv6: file.tunnel_ipv6.clone(),
        portal: file.portal.clone(),
        portal_error: file.portal_error.clone(),
        internet_resource_active: file.internet_resource_active,
        gateways: None,
        devices: None,
        warnings: file.warnings.iter().map(|it| Warning { code: it.code.clone(), text: it.text.clone() }).collect(),
        quiet: false,
    }
}

impl Show for Status {
    fn human(&self, out: &mut dyn fmt::Write, style: &Style) -> fmt::Result {
        if self.quiet {
            return Ok(());
        }
        let state = State::from(self.state.as_str());
        write!(out, "{}", style.state(&state))?;
        match (&self.actor_name, &self.account_slug) {
            (Some(actor), Some(account)) => write!(out, " as {actor} ({account})")?,
            (Some(who), None) | (None, Some(who)) => write!(out, " as {who}")?,
            (None, None) if self.mode == "service" => write!(out, " as a service")?,
            (None, None) => {}
        }
        if !self.reason.is_empty() {
            write!(out, ": {}", words::reason(&self.reason))?;
        }
        writeln!(out)?;
        if let Some(remedy) = words::remedy(&state, &self.reason, &self.mode) {
            writeln!(out, "  to do      {remedy}")?;
        }
        if let (Some(v4), Some(v6)) = (&self.tunnel_ipv4, &self.tunnel_ipv6) {
            writeln!(out, "  addresses  {v4}, {v6}")?;
        }
        for gateway in self.gateways.iter().flatten() {
            write!(out, "  gateway    {} {}", gateway.id, gateway.path)?;
            if let Some(seconds) = gateway.last_handshake_seconds {
                write!(out, ", last handshake {} ago", words::duration(seconds))?;
            }
            if let (Some(sent), Some(received)) = (gateway.sent_bytes, gateway.received_bytes) {
                write!(out, ", {} sent, {} received", words::size(sent), words::size(received))?;
            }
            writeln!(out)?;
        }
        for device in self.devices.iter().flatten() {
            let name = device.name.as_deref().unwrap_or(&device.id);
            writeln!(out, "  device     {name} {}, {}", device.tunnel_ipv4, device.tunnel_ipv6)?;
        }
        for warning in &self.warnings {
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
        (self.state != State::Connected.as_str()).then_some(Failure::NotConnected)
    }
}
