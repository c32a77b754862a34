//! The guard, between a bus and a polkit that a test plays itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::net::UnixStream;
use zbus::{
    Connection, Guid, Message, connection, interface,
    message::{Flags, Header},
    zvariant::OwnedValue,
};

use super::{Guard, people::People};

/// A user that every machine has and no group of ours.
const NOBODY: u32 = 65534;
const ANNA: &str = ":1.7";
const OTHER: &str = ":1.8";

/// What the bus and polkit were asked, and what polkit says.
#[derive(Clone, Debug, Default)]
struct World(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    /// Whose process everybody is.
    uid: u32,
    users: u32,
    questions: Vec<(String, HashMap<String, String>, u32)>,
    says: (bool, bool, HashMap<String, String>),
}

struct FakeBus(World);
struct FakePolkit(World);

#[interface(name = "org.freedesktop.DBus")]
impl FakeBus {
    fn get_connection_unix_user(&self, _name: String) -> u32 {
        let mut script = self.0.0.lock().unwrap();
        script.users += 1;
        script.uid
    }

    fn get_name_owner(&self, _name: String) -> String {
        ":1.1".to_owned()
    }
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl FakePolkit {
    fn check_authorization(
        &self,
        _subject: (String, HashMap<String, OwnedValue>),
        action: String,
        details: HashMap<String, String>,
        flags: u32,
        _cancellation: String,
    ) -> ((bool, bool, HashMap<String, String>),) {
        let mut script = self.0.0.lock().unwrap();
        script.questions.push((action, details, flags));
        (script.says.clone(),)
    }
}

struct Lab {
    world: World,
    guard: Guard,
    _ends: [Connection; 2],
}

impl Lab {
    async fn new(uid: u32) -> Self {
        let world = World(Arc::new(Mutex::new(Script { uid, ..Script::default() })));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = connection::Builder::unix_stream(theirs).server(Guid::generate()).unwrap().p2p();
        let server = server.serve_at("/org/freedesktop/DBus", FakeBus(world.clone())).unwrap();
        let server = server.serve_at("/org/freedesktop/PolicyKit1/Authority", FakePolkit(world.clone())).unwrap();
        let client = connection::Builder::unix_stream(ours).p2p().build();
        let (server, client) = tokio::try_join!(server.build(), client).unwrap();
        let guard = Guard::polkit(&client, People::default()).await.unwrap();
        Self { world, guard, _ends: [server, client] }
    }

    fn polkit_says(&self, yes: bool, challenge: bool) {
        self.world.0.lock().unwrap().says = (yes, challenge, HashMap::new());
    }

    fn polkit_says_yes_for_now(&self) {
        let temporary = ("polkit.temporary_authorization_id".to_owned(), "tmpauthz0".to_owned());
        self.world.0.lock().unwrap().says = (true, false, HashMap::from([temporary]));
    }

    /// Whether the sender may call this, and how many questions polkit was asked about it.
    async fn call(&self, sender: &str, method: &str) -> (bool, usize) {
        self.send(&message(sender, method, false).header()).await
    }

    async fn send(&self, header: &Header<'_>) -> (bool, usize) {
        let asked = || self.world.0.lock().unwrap().questions.len();
        let before = asked();
        let may = self.guard.permit(header).await.is_ok();
        (may, asked() - before)
    }
}

fn message(sender: &str, method: &str, interactive: bool) -> Message {
    let message = Message::method_call(dbus_api::PATH, method).unwrap().sender(sender).unwrap();
    let message = message.interface("dev.firezone.Client1").unwrap();
    let message = if interactive { message.with_flags(Flags::AllowInteractiveAuth).unwrap() } else { message };
    message.build(&()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_may_no_longer_reads_for_a_second_at_most() {
    // About root no thread asks the user database, for which no virtual time waits.
    let lab = Lab::new(0).await;
    lab.polkit_says(true, false);
    assert_eq!(lab.call(ANNA, "GetStatus").await, (true, 1));
    lab.polkit_says(false, false);
    tokio::time::advance(Duration::from_millis(900)).await;
    assert_eq!(lab.call(ANNA, "GetStatus").await, (true, 0));
    assert_eq!(lab.call(OTHER, "GetStatus").await, (false, 1), "another connection of the same user");
    tokio::time::advance(Duration::from_millis(101)).await;
    assert_eq!(lab.call(ANNA, "GetStatus").await, (false, 1));
}

#[tokio::test]
async fn nothing_but_permission_to_read_is_remembered() {
    let lab = Lab::new(NOBODY).await;
    lab.polkit_says(true, false);
    for method in ["SignOut", "SignOut", "Reset"] {
        assert_eq!(lab.call(ANNA, method).await, (true, 1), "{method}");
    }
    assert_eq!(lab.call(ANNA, "GetStatus").await, (true, 1), "permission for something else");
    lab.polkit_says(false, false);
    assert_eq!(lab.call(ANNA, "SignOut").await, (false, 1), "permission to read");

    for _ in 0..2 {
        assert_eq!(lab.call(OTHER, "GetStatus").await, (false, 1), "a refusal");
    }
    lab.polkit_says_yes_for_now();
    for _ in 0..2 {
        assert_eq!(lab.call(OTHER, "GetStatus").await, (true, 1), "a password of a while ago");
    }
    lab.polkit_says(false, true);
    for _ in 0..2 {
        let interactive = message(OTHER, "GetStatus", true);
        assert_eq!(lab.send(&interactive.header()).await, (false, 2), "a dialog");
    }
    let flags = |it: &Script| it.questions.last().unwrap().2;
    assert_eq!(flags(&lab.world.0.lock().unwrap()), 1);
}

#[tokio::test]
async fn whose_process_somebody_is_is_asked_once_and_told_to_polkit() {
    let lab = Lab::new(NOBODY).await;
    lab.polkit_says(true, false);
    for _ in 0..3 {
        lab.call(ANNA, "SignOut").await;
    }
    let script = lab.world.0.lock().unwrap();
    assert_eq!(script.users, 1);
    let not_a_member = HashMap::from([("firezone.member".to_owned(), "false".to_owned())]);
    for question in &script.questions {
        assert_eq!(question, &("dev.firezone.Client.sign-out".to_owned(), not_a_member.clone(), 0));
    }
}
