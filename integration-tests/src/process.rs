//! Programs on hosts: start, observe and stop them.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{logs::Log, netns::Host};

/// The `PATH` of programs.
const PATH: &str = "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Default timeout of a program that is run to its end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command for a host. Its environment contains only what is set here.
#[must_use]
#[derive(Clone, Debug)]
pub struct Program<'a> {
    host: &'a Host,
    /// A command in front of it, such as `nsenter`.
    entrance: Vec<String>,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    input: Option<String>,
    timeout: Duration,
}

/// A running program. Dropping it kills the program.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: Arc<Log>,
}

/// The result of a program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// The command, for messages.
    pub command: String,
}

impl Host {
    /// Prepares to run a command line. Words are separated by single spaces; see [`Program::arg`] for others.
    pub fn program(&self, command: &str) -> Program<'_> {
        Program {
            host: self,
            entrance: vec![],
            words: command.split(' ').map(str::to_owned).collect(),
            environment: vec![
                ("PATH".into(), PATH.into()),
                ("LANG".into(), "C.UTF-8".into()),
                ("HOME".into(), "/nonexistent".into()),
            ],
            input: None,
            timeout: TIMEOUT,
        }
    }
}

impl Program<'_> {
    /// Adds an argument, which may contain spaces.
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it through this command, which gets the rest as its arguments.
    pub(crate) fn behind(mut self, entrance: &str) -> Self {
        self.entrance = entrance.split(' ').map(str::to_owned).collect();
        self
    }

    /// Standard input.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// Sets the timeout.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it as another user, with that user's groups and no privileges.
    pub fn as_user(self, user: &str) -> Self {
        self.through(&format!("setpriv --reuid {user} --regid {user} --init-groups --"))
    }

    /// Runs it as a service manager runs a service: as `user`, with a group more, with these capabilities and no way to
    /// get others.
    pub fn as_service(self, user: &str, group: &str, capabilities: &[&str]) -> Self {
        let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let list = format!("-all,{}", list.join(","));
        self.through(&format!(
            "setpriv --reuid {user} --regid {user} --groups {group} --no-new-privs --inh-caps={list} --ambient-caps={list} --bounding-set={list} --"
        ))
    }

    /// Runs it to its end.
    pub fn run(self) -> anyhow::Result<Finished> {
        let (timeout, input) = (self.timeout, self.input.clone());
        let mut child = self.host.spawn(&mut self.command())?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            // A program may end without reading its input.
            drop(pipe.write_all(input.as_bytes()));
        }

        let Some(status) = wait(&mut child, timeout)? else {
            child.kill()?;
            child.wait()?;
            bail!("{} did not end within {} s", self.words.join(" "), timeout.as_secs());
        };
        let text = |it: std::thread::JoinHandle<Vec<u8>>| it.join().unwrap_or_default();
        let stderr = String::from_utf8_lossy(&text(stderr)).into_owned();
        Ok(Finished { status, stdout: text(stdout), stderr, command: self.words.join(" ") })
    }

    /// Runs it to its end; any status other than 0 is an error.
    pub fn check(self) -> anyhow::Result<Finished> {
        let name = self.host.name();
        let finished = self.run()?;
        if !finished.status.success() {
            bail!("{name}: {} failed with {}: {}", finished.command, finished.status, finished.error_text());
        }
        Ok(finished)
    }

    /// Starts it in the background with its output in `log`.
    pub fn start(self, name: &str, log: Arc<Log>) -> anyhow::Result<Running> {
        let mut child = self.host.spawn(&mut self.command())?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), &self.input) {
            drop(pipe.write_all(input.as_bytes()));
        }
        copy(child.stdout.take(), &log);
        copy(child.stderr.take(), &log);
        Ok(Running { child, name: name.to_owned(), log })
    }

    fn through(mut self, wrapper: &str) -> Self {
        let mut words: Vec<String> = wrapper.split(' ').map(str::to_owned).collect();
        words.append(&mut self.words);
        self.words = words;
        self
    }

    fn command(&self) -> Command {
        // `env` looks up the program, because it runs with the host's files.
        let mut command = Command::new("env");
        command
            .args(&self.entrance)
            .args(if self.entrance.is_empty() { &["-i"][..] } else { &["env", "-i"] })
            .args(self.environment.iter().map(|(name, value)| format!("{name}={value}")))
            .args(&self.words)
            .current_dir("/")
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Running {
    /// Its output so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        wait(&mut self.child, timeout)?
            .with_context(|| format!("{} did not end within {} s", self.name, timeout.as_secs()))
    }

    /// Sends SIGTERM and waits for its end.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(Duration::from_secs(15))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            // It may have ended in between.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Finished {
    /// What it wrote, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it wrote, as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.stdout)
            .with_context(|| format!("{} did not write JSON: {}", self.command, self.text()))
    }

    /// Its output and errors, for messages.
    #[must_use]
    pub fn error_text(&self) -> String {
        format!("{} {}", self.text().trim(), self.stderr.trim()).trim().to_owned()
    }
}

/// Polls a condition; fails with `what` after the timeout.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() > deadline {
            bail!("timeout after {} s: {what}", timeout.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn wait(child: &mut Child, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

fn copy(pipe: Option<impl Read + Send + 'static>, log: &Arc<Log>) {
    let log = log.clone();
    if let Some(pipe) = pipe {
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                log.add(&String::from_utf8_lossy(&line));
            }
        });
    }
}
