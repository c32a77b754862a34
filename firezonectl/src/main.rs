//! The door of the command line: arguments, the daemon, a command, its answer, the exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use firezonectl::{args::Args, client::Daemon, commands, failure::Failure, output};

fn main() -> ExitCode {
    let args = Args::parse(); // usage errors exit 2, before anything happened
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where there is nobody to tell, the code still does.
            let _told = match failure.text() {
                Some(text) => writeln!(io::stderr(), "firezonectl: {text}"),
                None => Ok(()),
            };
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let daemon = Daemon::find().await?;
        if let Some(remark) = daemon.remark().await {
            writeln!(io::stderr(), "firezonectl: {remark}")?;
        }
        commands::run(&args.command, &daemon).await
    })?;
    output::print(answer.as_ref(), args.json)?;
    answer.failure().map_or(Ok(()), Err)
}
