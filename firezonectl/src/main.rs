//! The door of the command line: arguments, the daemon, a command, its answer, the exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;
use firezonectl::{
    args::Args,
    commands::{self, Surroundings},
    failure::Failure,
    output::{Out as _, Terminal, spinner},
};

fn main() -> ExitCode {
    // A shell that completes asks for words, and for nothing else.
    CompleteEnv::with_factory(Args::command).complete();
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
    let mut out = Terminal { format: args.format()?, streaming: args.command.is_streaming() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let mut surroundings = Surroundings::of_this_process(&mut out).await;
        spinner::while_waiting(args.command.pastime(), commands::run(&args.command, &mut surroundings)).await
    })?;
    let Some(answer) = answer else { return Ok(()) };
    out.show(answer.as_ref())?;
    answer.failure().map_or(Ok(()), Err)
}
