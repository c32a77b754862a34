//! Something that moves on a terminal while an answer takes longer than people expect.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Nobody looks for a sign of life before that.
const GRACE: Duration = Duration::from_millis(500);
const FRAME: Duration = Duration::from_millis(120);
const FRAMES: [&str; 4] = ["-", "\\", "|", "/"];

/// Whether somebody is being asked something. There is one terminal, so there is one of this.
static IS_PAUSED: AtomicBool = AtomicBool::new(false);

/// Nothing moves for as long as this lives.
#[derive(Debug)]
pub struct Pause(());

/// Holds still while somebody types.
#[must_use]
pub fn pause() -> Pause {
    IS_PAUSED.store(true, Ordering::Relaxed);
    Pause(())
}

impl Drop for Pause {
    fn drop(&mut self) {
        IS_PAUSED.store(false, Ordering::Relaxed);
    }
}

/// Waits for `work`, and says what is being done if that takes its time.
pub async fn while_waiting<T>(what: Option<&str>, work: impl Future<Output = T>) -> T {
    let Some(what) = what.filter(|_| is_wanted()) else { return work.await };
    let mut work = std::pin::pin!(work);
    let start = tokio::time::Instant::now() + GRACE;
    let mut frames = tokio::time::interval_at(start, FRAME);
    let mut turn = FRAMES.iter().cycle();
    let mut is_shown = false;
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if is_shown {
                    draw("");
                }
                return done;
            }
            _ = frames.tick(), if !IS_PAUSED.load(Ordering::Relaxed) => {
                is_shown = true;
                draw(&format!("{} {what} \u{2026}", turn.next().unwrap_or(&"-")));
            }
        }
    }
}

/// On standard error, so that it never mixes with an answer.
fn is_wanted() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Replaces what was drawn before.
fn draw(text: &str) {
    let mut out = io::stderr();
    // It is only a sign of life.
    let _drawn = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
}
