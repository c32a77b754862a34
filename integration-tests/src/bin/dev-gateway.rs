//! The development gateway as a program. It changes the network of its namespace, so it should have one of its own.

use anyhow::Context as _;
use clap::Parser;
use integration_tests::gateway::{self, Login};
use url::Url;

/// Development gateway for Firezone clients. The token of its site is in the environment variable FIREZONE_TOKEN.
#[derive(Parser, Debug)]
struct Args {
    /// URL of the portal, `ws://HOST:PORT/`.
    #[arg(long)]
    portal: Url,
    /// Device ID, different from other gateways of the site.
    #[arg(long)]
    id: String,
    /// Display name.
    #[arg(long, default_value = "dev-gateway")]
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    integration_tests::logs::to_stderr();

    let token = std::env::var("FIREZONE_TOKEN").context("FIREZONE_TOKEN is missing")?;
    gateway::run(Login { portal: args.portal, token, external_id: args.id, name: args.name }).await
}
