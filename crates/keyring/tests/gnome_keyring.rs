//! Tests against a real gnome-keyring on a private session bus.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "set-up of tests")]

use std::{collections::HashMap, path::Path, process::Stdio, time::Duration};

use keyring::{Error, Keyring, StoredToken};
use secret_service::{EncryptionType, SecretService};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};
use zbus::{Connection, connection, fdo::DBusProxy};
use zeroize::Zeroizing;

const SERVICE_TIMEOUT: Duration = Duration::from_secs(20);

/// A bus without service activation. Its socket is in the temporary home and is removed with it.
const BUS: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=HOME</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>"#;

/// The session of a user who has just logged in.
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
        tokio::time::timeout(SERVICE_TIMEOUT, wait).await.expect("the keyring appears on the bus");
    }
}

/// A program that is isolated from the session in which the test runs.
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

fn stored(token: &str) -> StoredToken {
    StoredToken {
        token: Zeroizing::new(token.to_owned()),
        account_slug: Some("example".to_owned()),
        actor_name: Some("Kim Doe".to_owned()),
    }
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn token_can_be_stored_replaced_and_deleted() {
    let session = Session::with_keyring().await;
    let keyring = Keyring::on_bus(session.bus.clone()).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None);

    keyring.store(&stored("first")).await.unwrap();
    keyring.store(&stored("second")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), Some(stored("second")));
    let again = Keyring::on_bus(session.bus.clone()).await.unwrap();
    assert_eq!(again.read().await.unwrap(), Some(stored("second")), "another connection reads the same token");

    keyring.delete().await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None);
    keyring.delete().await.expect("deleting an absent token succeeds");
}

/// Attributes of the official client's item.
const OFFICIAL_ATTRIBUTES: [(&str, &str); 2] = [("service", ""), ("username", "dev.firezone.client/token")];

async fn store_like_the_official_client(service: &SecretService<'_>) {
    let collection = service.get_default_collection().await.unwrap();
    let (label, kind) = ("keyring:dev.firezone.client/token@", "application/octet-stream");
    collection.create_item(label, HashMap::from(OFFICIAL_ATTRIBUTES), b"theirs", false, kind).await.unwrap();
}

async fn count_official_items(service: &SecretService<'_>) -> usize {
    service.search_items(HashMap::from(OFFICIAL_ATTRIBUTES)).await.unwrap().unlocked.len()
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn token_of_the_official_client_is_migrated_after_it_has_connected() {
    let session = Session::with_keyring().await;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, session.bus.clone()).await.unwrap();
    let keyring = Keyring::on_bus(session.bus.clone()).await.unwrap();
    keyring.migrate(&stored("whatever")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), None, "no official item, so nothing is stored");

    store_like_the_official_client(&service).await;
    assert_eq!(count_official_items(&service).await, 1);
    keyring.migrate(&stored("theirs")).await.unwrap();
    assert_eq!(count_official_items(&service).await, 0);
    assert_eq!(keyring.read().await.unwrap(), Some(stored("theirs")));
}

#[tokio::test]
#[ignore = "needs dbus-daemon and gnome-keyring"]
async fn own_token_takes_precedence_over_the_official_clients() {
    let session = Session::with_keyring().await;
    let service = SecretService::connect_with_existing(EncryptionType::Dh, session.bus.clone()).await.unwrap();
    store_like_the_official_client(&service).await;
    let keyring = Keyring::on_bus(session.bus.clone()).await.unwrap();
    keyring.store(&stored("ours")).await.unwrap();
    assert_eq!(keyring.read().await.unwrap(), Some(stored("ours")));
    assert_eq!(count_official_items(&service).await, 1, "storing a token does not prove that it works");

    keyring.migrate(&stored("another")).await.unwrap();
    assert_eq!((count_official_items(&service).await, keyring.read().await.unwrap()), (0, Some(stored("ours"))));
}

#[tokio::test]
#[ignore = "needs dbus-daemon"]
async fn missing_keyring_service_is_reported() {
    let session = Session::without_keyring().await;
    let outcome = Keyring::on_bus(session.bus.clone()).await;
    assert!(matches!(outcome, Err(Error::Unavailable)), "{outcome:?}");
}
