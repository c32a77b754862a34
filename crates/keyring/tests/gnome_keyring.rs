//! A real gnome-keyring on a session bus of its own.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "set-up of tests")]

use std::{collections::HashMap, path::Path, process::Stdio, time::Duration};

use keyring::{Error, Kept, Keyring};
use secret_service::{EncryptionType, SecretService};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};
use zbus::{Connection, connection, fdo::DBusProxy};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(20);

/// A bus that starts nothing by itself. Its socket leaves with the home in which it is.
const BUS: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=HOME</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>"#;

/// A session of a user who has just logged in.
struct Session {
    bus: Connection,
    address: String,
    _home: tempfile::TempDir,
    _children: Vec<Child>,
}

impl Session {
    async fn without_keyring() -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("bus.conf");
        std::fs::write(&config, BUS.replace("HOME", home.path().to_str().unwrap())).unwrap();
        let mut daemon = private("dbus-daemon", home.path(), "")
            .args(["--nofork", "--nopidfile", "--print-address", "--config-file"])
            .arg(config)
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).await.unwrap();
        let bus = connection::Builder::address(address.trim()).unwrap().build().await.unwrap();
        Self { bus, address: address.trim().to_owned(), _home: home, _children: vec![daemon] }
    }

    async fn with_keyring() -> Self {
        let mut session = Self::without_keyring().await;
        let mut keyring = private("gnome-keyring-daemon", session._home.path(), &session.address)
            .args(["--foreground", "--components=secrets", "--unlock"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring is installed");
        keyring.stdin.take().unwrap().write_all(b"the password of the login").await.unwrap();
        session._children.push(keyring);
        session.wait_for("org.freedesktop.secrets").await;
        session
    }

    async fn wait_for(&self, name: &str) {
        use futures_util::StreamExt as _;
        let bus = DBusProxy::new(&self.bus).await.unwrap();
        let mut changes = bus.receive_name_owner_changed().await.unwrap();
        let wait = async {
            while !bus.name_has_owner(name.try_into().unwrap()).await.unwrap() {
                changes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the keyring appears on the bus");
    }
}

/// A program that sees nothing of the session in which the test runs.
fn private(program: &str, home: &Path, bus: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("DBUS_SESSION_BUS_ADDRESS", bus)
        .kill_on_drop(true);
    command
}

fn kept(token: &str) -> Kept {
    Kept {
        token: Zeroizing::new(token.to_owned()),
        account_slug: Some("example".to_owned()),
        actor_name: Some("Kim Doe".to_owned()),
    }
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn a_token_is_kept_replaced_and_forgotten() {
    let session = Session::with_keyring().await;
    let keyring = Keyring::over(session.bus.clone()).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None);

    keyring.keep(&kept("first")).await.unwrap();
    keyring.keep(&kept("second")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), Some(kept("second")));
    let again = Keyring::over(session.bus.clone()).await.unwrap();
    assert_eq!(again.read().await.unwrap(), Some(kept("second")), "another program finds it too");

    keyring.forget().await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None);
    keyring.forget().await.expect("nothing to forget is no error");
}

/// What the existing client keeps.
const THEIRS: [(&str, &str); 2] = [("service", ""), ("username", "dev.firezone.client/token")];

async fn keep_like_the_existing_client(service: &SecretService<'_>) {
    let collection = service.get_default_collection().await.unwrap();
    let (label, kind) = ("keyring:dev.firezone.client/token@", "application/octet-stream");
    collection.create_item(label, HashMap::from(THEIRS), b"theirs", false, kind).await.unwrap();
}

async fn theirs(service: &SecretService<'_>) -> usize {
    service.search_items(HashMap::from(THEIRS)).await.unwrap().unlocked.len()
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn what_the_existing_client_kept_stays_until_it_has_worked_and_becomes_ours() {
    let session = Session::with_keyring().await;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, session.bus.clone()).await.unwrap();
    let keyring = Keyring::over(session.bus.clone()).await.unwrap();
    keyring.take_over(&kept("whatever")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None, "without anything of theirs nothing is kept");

    keep_like_the_existing_client(&service).await;
    assert_eq!(theirs(&service).await, 1);
    keyring.take_over(&kept("theirs")).await.unwrap();
    assert_eq!(theirs(&service).await, 0);
    assert_eq!(keyring.read().await.unwrap(), Some(kept("theirs")));
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn what_is_ours_already_wins() {
    let session = Session::with_keyring().await;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, session.bus.clone()).await.unwrap();
    keep_like_the_existing_client(&service).await;
    let keyring = Keyring::over(session.bus.clone()).await.unwrap();
    keyring.keep(&kept("ours")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), Some(kept("ours")));
    assert_eq!(theirs(&service).await, 1, "keeping ours does not show that it works");

    keyring.take_over(&kept("another")).await.unwrap();
    assert_eq!((theirs(&service).await, keyring.read().await.unwrap()), (0, Some(kept("ours"))));
}

#[tokio::test]
#[ignore = "needs dbus-daemon"]
async fn a_session_without_a_keyring_is_told_so() {
    let session = Session::without_keyring().await;
    let outcome = Keyring::over(session.bus.clone()).await;
    assert!(matches!(outcome, Err(Error::Missing)), "{outcome:?}");
}
