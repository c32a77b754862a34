//! The private web server as a program: `dev-server ADDRESS:PORT…`.

use std::net::SocketAddr;

use clap::Parser;

/// A web server with a greeting and downloads of any size.
#[derive(Parser, Debug)]
struct Args {
    /// Addresses to listen on.
    #[arg(required = true)]
    listen: Vec<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    integration_tests::logs::to_stderr();

    integration_tests::web::serve(args.listen).await
}
