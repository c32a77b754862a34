//! The development portal as a program: `dev-portal CONFIG.json`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

/// Development portal for Firezone clients and gateways. Not for production: it keeps secrets in plain files.
#[derive(Parser, Debug)]
struct Args {
    /// Description of the account and where to listen, as JSON.
    config: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    integration_tests::logs::to_stderr();

    let text = std::fs::read(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    integration_tests::portal::run(serde_json::from_slice(&text).context("the configuration is not understood")?).await
}
