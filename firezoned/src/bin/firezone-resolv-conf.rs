//! Writes `/etc/resolv.conf` for the daemon: one order from standard input, or `--revert`; one answer to standard output. See
//! `host::dns::helper`.

use std::{env, io, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<_> = env::args_os().skip(1).collect();
    let done = match words.as_slice() {
        [] => host::dns::helper::serve(io::stdin().lock(), io::stdout().lock()),
        [word] if word == "--revert" => host::dns::helper::serve(&b"revert"[..], io::sink()),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
