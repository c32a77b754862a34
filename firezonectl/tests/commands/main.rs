//! Commands against a daemon that a test plays itself, over a socket pair; answers as people and programs see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod completions;
mod contract;
mod dns;
mod monitor;
mod played;
mod program;
mod resources;
mod schemas;
mod scripts;
mod session;
mod settings;
mod status;

use clap::Parser as _;
use dbus_api::{Device, Gateway, PathKind, PortalState, Resource, State, Status, Warning};
use firezonectl::{
    args::Args,
    client::Daemon,
    commands::{self, Surroundings},
    failure::Failure,
    output::{Out, Show, Style, render},
};

/// Keeps what is shown.
#[derive(Default)]
struct Screen(String, Option<firezonectl::output::Format>);

impl Out for Screen {
    fn show(&mut self, answer: &dyn Show) -> Result<(), Failure> {
        let format = self.1.as_ref().unwrap();
        self.0 += &render(answer, format, true, &Style::default())?;
        Ok(())
    }

    fn remark(&mut self, text: &str) {
        self.0 += text;
    }
}

/// What is printed; or the failure, if nothing is.
async fn run(line: &str, daemon: Daemon) -> Result<String, Failure> {
    let args = Args::try_parse_from(std::iter::once("firezonectl").chain(line.split(' '))).unwrap();
    let format = args.format()?;
    let mut screen = Screen(String::new(), Some(format.clone()));
    let answer = commands::run(&args.command, &mut Surroundings::with(daemon, &mut screen)).await?;
    let Some(answer) = answer else { return Ok(screen.0) };
    let text = render(answer.as_ref(), &format, false, &Style::default())?;
    match answer.failure() {
        Some(failure) if text.is_empty() => Err(failure),
        _ => Ok(text),
    }
}

fn connected() -> Status {
    Status {
        generation: 1,
        state: State::Connected,
        since: Some(1_700_000_000),
        account_slug: Some("acme".to_owned()),
        actor_name: Some("Anna".to_owned()),
        asked_by: Some("anna".to_owned()),
        tunnel_ipv4: Some("100.64.0.1".to_owned()),
        tunnel_ipv6: Some("fd00:2021:1111::1".to_owned()),
        portal: PortalState::Joined,
        gateways: Some(vec![Gateway {
            id: "9f0c1d2e-0000-4000-8000-000000000001".to_owned(),
            path: PathKind::Direct,
            last_handshake_seconds: Some(75),
            sent_bytes: Some(2048),
            received_bytes: Some(3_500_000),
            ..Gateway::default()
        }]),
        devices: Some(vec![Device {
            id: "c11e0000-0000-4000-8000-000000000001".to_owned(),
            name: Some("build-7".to_owned()),
            tunnel_ipv4: "100.64.3.8".to_owned(),
            tunnel_ipv6: "fd00:2021:1111::2a".to_owned(),
            pools: vec!["Build farm".to_owned()],
        }]),
        warnings: vec![Warning { code: "x".into(), text: "port 53 is taken".to_owned() }],
        ..Status::default()
    }
}

fn resources() -> Vec<Resource> {
    let resource = |kind: &str, name: &str, address: Option<&str>, status: &str| Resource {
        id: "5b0c1d2e-0000-4000-8000-000000000001".to_owned(),
        kind: kind.into(),
        name: name.to_owned(),
        address: address.map(ToOwned::to_owned),
        address_description: None,
        sites: vec!["Berlin".to_owned()],
        status: status.into(),
        ..Resource::default()
    };
    vec![
        resource("internet", "Internet", None, "unknown"),
        resource("dns", "Wiki", Some("*.wiki.example"), "online"),
        resource("cidr", "Ütility network", Some("10.1.0.0/16"), "offline"),
    ]
}
