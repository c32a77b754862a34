//! The program as people and scripts start it: at a terminal, in a pipe, in a shell. On a bus of its own, with a daemon
//! that the test plays.

use std::{collections::HashMap, path::Path, process::Stdio, time::Duration};

use dbus_api::Status;
use futures_util::StreamExt as _;
use secret_service::{EncryptionType, SecretService};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use zbus::{Connection, connection};

use crate::{connected, played::Mind, resources, schemas::described};

const PROGRAM: &str = env!("CARGO_BIN_EXE_firezonectl");
const PATIENCE: Duration = Duration::from_secs(30);

/// A bus that starts nothing by itself. Its socket leaves with the directory in which it is.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:tmpdir=HOME</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>"#;

/// A machine with a bus.
pub(crate) struct Machine {
    pub(crate) mind: Mind,
    address: String,
    pub(crate) home: tempfile::TempDir,
    _bus: Child,
}

impl Machine {
    /// A machine with a daemon that knows this. The daemon is there for as long as the connection.
    pub(crate) async fn new(status: Status) -> (Self, Connection) {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("bus.conf");
        std::fs::write(&config, BUS.replace("HOME", home.path().to_str().unwrap())).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file"])
            .arg(config)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).await.unwrap();
        let mind = Mind::default();
        mind.0.lock().unwrap().status = status;
        mind.0.lock().unwrap().resources = resources();
        let machine = Self { mind, address: address.trim().to_owned(), home, _bus: bus };
        let daemon = machine.daemon().await;
        (machine, daemon)
    }

    /// The daemon, once more.
    pub(crate) async fn daemon(&self) -> Connection {
        let connection = connection::Builder::address(self.address.as_str()).unwrap();
        self.mind.serve(connection).name(dbus_api::BUS_NAME).unwrap().build().await.unwrap()
    }

    /// A program that sees nothing of the session in which the test runs, and finds ours first.
    pub(crate) fn program(&self, program: &str) -> Command {
        let ours = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{ours}:{path}"))
            .env("HOME", self.home.path())
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// A desktop on the same bus, with a keyring that is open.
    async fn keyring(&self) -> Child {
        let mut keyring = self.program("gnome-keyring-daemon");
        let mut keyring = keyring
            .args(["--foreground", "--components=secrets", "--unlock"])
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring is installed");
        keyring.stdin.take().unwrap().write_all(b"the password of the login").await.unwrap();
        self.is_on_bus("org.freedesktop.secrets").await;
        keyring
    }

    /// Waits until somebody owns the name.
    async fn is_on_bus(&self, name: &str) {
        let bus = self.client().await;
        let proxy = zbus::fdo::DBusProxy::new(&bus).await.unwrap();
        let mut changes = proxy.receive_name_owner_changed().await.unwrap();
        let wait = async {
            while !proxy.name_has_owner(name.try_into().unwrap()).await.unwrap() {
                changes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{name} is not on the bus"));
    }

    /// Somebody else on the bus.
    async fn client(&self) -> Connection {
        connection::Builder::address(self.address.as_str()).unwrap().build().await.unwrap()
    }

    pub(crate) fn ctl(&self, line: &str) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(line.split(' '));
        command
    }

    /// Our program at a terminal.
    fn at_terminal(&self, line: &str) -> Command {
        self.any_at_terminal(&format!("firezonectl {line}"))
    }

    /// A program at a terminal.
    pub(crate) fn any_at_terminal(&self, line: &str) -> Command {
        let mut command = self.program("script");
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
        command.stdin(Stdio::piped());
        command
    }
}

/// What a program prints, while it runs.
pub(crate) struct Talk {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    heard: String,
}

impl Talk {
    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output, heard: String::new() }
    }

    /// Listens until this is said.
    pub(crate) async fn until(&mut self, words: &str) {
        let mut bytes = [0; 4096];
        while !self.heard.contains(words) {
            let read = tokio::time::timeout(PATIENCE, self.output.read(&mut bytes)).await;
            let count = read.unwrap_or_else(|_| panic!("not said in time: {words}; but: {}", self.heard)).unwrap_or(0);
            assert_ne!(count, 0, "never said: {words}; but: {}", self.heard);
            self.heard += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    pub(crate) async fn say(&mut self, words: &str) {
        self.input.write_all(words.as_bytes()).await.unwrap();
    }

    /// Listens to the end. What was said, and the exit status.
    async fn end(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        // A terminal without a program at its other end is an error, and an end.
        let _end = tokio::time::timeout(PATIENCE, self.output.read_to_end(&mut rest)).await.expect("it ends");
        self.heard += &String::from_utf8_lossy(&rest);
        let status = self.child.wait().await.unwrap();
        (self.heard, status.code())
    }
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn colours_are_for_terminals_whose_people_want_them() {
    let (machine, _daemon) = Machine::new(connected()).await;
    let (text, status) = Talk::begin(machine.at_terminal("status")).end().await;
    assert!(text.contains("\x1b[32mConnected\x1b[0m as Anna") && status == Some(0), "{text}");
    let mut plain = machine.at_terminal("status");
    let (text, _) = Talk::begin({
        plain.env("NO_COLOR", "1");
        plain
    })
    .end()
    .await;
    assert!(text.contains("Connected as Anna") && !text.contains("\x1b[3"), "{text}");
    let piped = machine.ctl("status").output().await.unwrap();
    assert!(piped.stdout.starts_with(b"Connected as Anna"), "{piped:?}");
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "", "nothing beside the answer");
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn what_takes_its_time_at_a_terminal_says_so() {
    let (machine, _daemon) = Machine::new(connected()).await;
    let pause = std::sync::Arc::new(tokio::sync::Notify::new());
    machine.mind.0.lock().unwrap().pause = Some(pause.clone());
    let mut talk = Talk::begin(machine.at_terminal("status"));
    talk.until("Asking the daemon \u{2026}").await;
    assert!(!talk.heard.contains("Connected"));
    pause.notify_one();
    let (text, status) = talk.end().await;
    // The line is empty again before the answer.
    let after = text.rsplit_once("\r\x1b[K").unwrap().1;
    assert!(after.starts_with("\x1b[32mConnected"), "{text:?}");
    assert_eq!(status, Some(0));
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let (machine, _daemon) = Machine::new(connected()).await;
    for line in ["resources", "--json status", "settings", "completions bash", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = machine.ctl(line).stdout(writer).output().await.unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""), "{line}");
    }
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn a_monitor_prints_one_line_a_change_and_survives_a_restart() {
    let (machine, daemon) = Machine::new(connected()).await;
    let mut monitor = machine.ctl("monitor --json").stdin(Stdio::piped()).env("LC_ALL", "de_DE.UTF-8").spawn().unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
        let line = line.unwrap().unwrap();
        described("monitor --json", "monitor", &line);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        (line["running"].as_bool().unwrap(), line["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(next().await, (true, "connected".to_owned()));
    daemon.close().await.unwrap();
    assert_eq!(next().await, (false, String::new()));
    machine.mind.0.lock().unwrap().status.state = "connecting".into();
    let daemon = machine.daemon().await;
    assert_eq!(next().await, (true, "connecting".to_owned()));
    drop(lines);
    daemon.close().await.unwrap();
    let status = tokio::time::timeout(PATIENCE, monitor.wait()).await.expect("it ends when nobody reads").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn a_token_is_pasted_and_not_shown() {
    let (machine, _daemon) = Machine::new(Status::default()).await;
    let mut talk = Talk::begin(machine.at_terminal("sign-in --account acme"));
    talk.until("https://app.firezone.dev/acme?as=headless-client").await;
    talk.until("Token: ").await;
    talk.say(".a-token-that-was-pasted\r").await;
    let (text, status) = talk.end().await;
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains("that-was-pasted"), "{text}");
    assert_eq!(machine.mind.0.lock().unwrap().tokens, [".a-token-that-was-pasted"]);
}

/// The value of a parameter of the page that somebody is to open.
fn parameter(text: &str, name: &str) -> String {
    let value = text.split(&format!("{name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {text}"));
    value.chars().take_while(char::is_ascii_hexdigit).collect()
}

fn callback(state: &str) -> String {
    format!(
        "firezone-fd0020211111://handle_client_sign_in_callback/?account_slug=acme&actor_name=Anna&fragment=.pasted&state={state}"
    )
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn the_address_of_a_callback_is_pasted_and_must_be_the_answer_to_our_question() {
    let (machine, _daemon) = Machine::new(Status::default()).await;
    let mut talk = Talk::begin(machine.at_terminal("sign-in --callback --account acme"));
    talk.until("Address: ").await;
    let (nonce, state) = (parameter(&talk.heard, "nonce"), parameter(&talk.heard, "state"));
    assert_eq!((nonce.len(), state.len()), (64, 64), "{}", talk.heard);
    talk.say(&format!("{}\r", callback(&state))).await;
    let (text, status) = talk.end().await;
    assert_eq!(status, Some(0), "{text}");
    assert!(!text.contains("handle_client_sign_in_callback"), "{text}");
    assert_eq!(machine.mind.0.lock().unwrap().tokens, [format!("{nonce}.pasted")]);

    let mut talk = Talk::begin(machine.at_terminal("sign-in --callback --account acme"));
    talk.until("Address: ").await;
    talk.say(&format!("{}\r", callback(&state))).await;
    let (text, status) = talk.end().await;
    assert_eq!(status, Some(8), "a state of another attempt: {text}");
    assert_eq!(machine.mind.0.lock().unwrap().tokens.len(), 1);
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn without_a_terminal_nobody_is_asked() {
    let (machine, _daemon) = Machine::new(Status::default()).await;
    let done = machine.ctl("sign-in").output().await.unwrap();
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let mut ctl = machine.ctl("--json sign-in --token-stdin").stdin(Stdio::piped()).spawn().unwrap();
    ctl.stdin.take().unwrap().write_all(b" .from-a-file\n").await.unwrap();
    let done = ctl.wait_with_output().await.unwrap();
    assert_eq!(done.status.code(), Some(0));
    described("sign-in", "session", std::str::from_utf8(&done.stdout).unwrap());
    assert_eq!(machine.mind.0.lock().unwrap().tokens, [".from-a-file"]);
}

#[tokio::test]
#[ignore = "needs dbus-daemon: make integration"]
async fn what_the_desktop_app_hands_over_need_not_be_pasted() {
    let (machine, _daemon) = Machine::new(Status::default()).await;
    let mut command = machine.at_terminal("sign-in --callback");
    command.env("DBUS_SESSION_BUS_ADDRESS", &machine.address);
    let mut talk = Talk::begin(command);
    talk.until("Address: ").await;
    let (nonce, state) = (parameter(&talk.heard, "nonce"), parameter(&talk.heard, "state"));
    let app = machine.client().await;
    let waiter = dbus_api::callback::SignInWaiterProxy::new(&app).await.unwrap();
    waiter.call_back("https://app.firezone.dev/").await.expect_err("that is none, and changes nothing");
    waiter.call_back(&callback(&state)).await.unwrap();
    let (text, status) = talk.end().await;
    assert!(status == Some(0) && text.contains("Address: \r\n") && text.contains("Connecting"), "{text:?}");
    assert_eq!(machine.mind.0.lock().unwrap().tokens, [format!("{nonce}.pasted")]);
    waiter.call_back(&callback(&state)).await.expect_err("nobody waits any more");

    let mut command = machine.at_terminal("sign-in --callback");
    command.env("DBUS_SESSION_BUS_ADDRESS", &machine.address);
    let mut talk = Talk::begin(command);
    talk.until("Address: ").await;
    waiter.call_back(&callback(&state)).await.unwrap();
    let (text, status) = talk.end().await;
    assert_eq!(status, Some(8), "a state of another attempt: {text}");
    assert_eq!(machine.mind.0.lock().unwrap().tokens.len(), 1);
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring: make integration"]
async fn the_keyring_keeps_what_connect_needs_until_sign_out() {
    let (machine, _daemon) = Machine::new(Status { state: "signed-out".into(), ..Status::default() }).await;
    let _keyring = machine.keyring().await;
    machine.mind.0.lock().unwrap().next = Some("connected");
    let ctl = async |line: &str, input: &str| {
        let mut command = machine.ctl(line);
        command.env("DBUS_SESSION_BUS_ADDRESS", &machine.address).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
        if line.starts_with("--json ") {
            described(line, "session", std::str::from_utf8(&done.stdout).unwrap());
        }
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let done = (Some(0), String::new());
    assert_eq!(ctl("connect", "").await.0, Some(10), "nothing is kept yet");
    assert_eq!(ctl("sign-in --token-stdin --wait", ".not-kept").await, done);
    assert_eq!(ctl("connect", "").await.0, Some(10), "nobody has asked to keep it");
    assert_eq!(ctl("sign-in --token-stdin --remember --wait", ".kept").await, done);

    // What the existing client has kept is forgotten once ours has worked.
    let bus = machine.client().await;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, bus).await.unwrap();
    let theirs = HashMap::from([("service", ""), ("username", "dev.firezone.client/token")]);
    let collection = service.get_default_collection().await.unwrap();
    collection.create_item("theirs", theirs.clone(), b"theirs", false, "text/plain").await.unwrap();
    machine.mind.0.lock().unwrap().next = None;
    assert_eq!(ctl("disconnect", "").await, done);
    assert_eq!(ctl("connect", "").await, done);
    assert_eq!(service.search_items(theirs.clone()).await.unwrap().unlocked.len(), 1, "nobody has seen it work");
    machine.mind.0.lock().unwrap().next = Some("connected");
    assert_eq!(ctl("--json connect --wait", "").await, done);
    assert_eq!(service.search_items(theirs).await.unwrap().unlocked.len(), 0);
    assert_eq!(machine.mind.0.lock().unwrap().tokens, [".not-kept", ".kept", ".kept", ".kept"]);

    machine.mind.0.lock().unwrap().next = Some("signed-out");
    assert_eq!(ctl("sign-out --wait", "").await, done);
    assert_eq!(ctl("connect", "").await.0, Some(10), "signing out forgets it");
}
