//! The authorizer with a bus and a polkit that the test simulates.

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

use crate::{authorizer::Authorizer, user_db::UserDatabase};

/// A user of every machine, who is not a member of the group.
const NOBODY: u32 = 65534;
const SENDER: &str = ":1.7";
const OTHER: &str = ":1.8";

/// The queries to the bus and to polkit, and the reply of polkit.
#[derive(Clone, Debug, Default)]
struct World(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    /// The user id of all senders.
    uid: u32,
    user_lookups: u32,
    queries: Vec<(String, HashMap<String, String>, u32)>,
    reply: (bool, bool, HashMap<String, String>),
}

struct FakeBus(World);
struct FakePolkit(World);

#[interface(name = "org.freedesktop.DBus")]
impl FakeBus {
    fn get_connection_unix_user(&self, _name: String) -> u32 {
        let mut script = self.0.0.lock().unwrap();
        script.user_lookups += 1;
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
        script.queries.push((action, details, flags));
        (script.reply.clone(),)
    }
}

struct Lab {
    world: World,
    authorizer: Authorizer,
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
        let authorizer = Authorizer::polkit(&client, UserDatabase::default()).await.unwrap();
        Self { world, authorizer, _ends: [server, client] }
    }

    fn set_reply(&self, yes: bool, challenge: bool) {
        self.world.0.lock().unwrap().reply = (yes, challenge, HashMap::new());
    }

    fn reply_yes_because_of_a_password(&self) {
        let temporary = ("polkit.temporary_authorization_id".to_owned(), "tmpauthz0".to_owned());
        self.world.0.lock().unwrap().reply = (true, false, HashMap::from([temporary]));
    }

    /// Whether the call is authorized, and the number of queries to polkit.
    async fn call(&self, sender: &str, method: &str) -> (bool, usize) {
        self.send(&message(sender, method, false).header()).await
    }

    async fn send(&self, header: &Header<'_>) -> (bool, usize) {
        let count = || self.world.0.lock().unwrap().queries.len();
        let before = count();
        let is_authorized = self.authorizer.authorize(header).await.is_ok();
        (is_authorized, count() - before)
    }
}

fn message(sender: &str, method: &str, interactive: bool) -> Message {
    let message = Message::method_call(dbus_api::PATH, method).unwrap().sender(sender).unwrap();
    let message = message.interface("dev.firezone.Client1").unwrap();
    let message = if interactive { message.with_flags(Flags::AllowInteractiveAuth).unwrap() } else { message };
    message.build(&()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn revoked_permission_to_read_lasts_a_second_at_most() {
    // For root, no thread queries the user database, which would not advance virtual time.
    let lab = Lab::new(0).await;
    lab.set_reply(true, false);
    assert_eq!(lab.call(SENDER, "GetStatus").await, (true, 1));
    lab.set_reply(false, false);
    tokio::time::advance(Duration::from_millis(900)).await;
    assert_eq!(lab.call(SENDER, "GetStatus").await, (true, 0));
    assert_eq!(lab.call(OTHER, "GetStatus").await, (false, 1), "another connection of the same user");
    tokio::time::advance(Duration::from_millis(101)).await;
    assert_eq!(lab.call(SENDER, "GetStatus").await, (false, 1));
}

#[tokio::test]
async fn only_permission_to_read_is_cached() {
    let lab = Lab::new(NOBODY).await;
    lab.set_reply(true, false);
    for method in ["SignOut", "SignOut", "Reset"] {
        assert_eq!(lab.call(SENDER, method).await, (true, 1), "{method}");
    }
    assert_eq!(lab.call(SENDER, "GetStatus").await, (true, 1), "permission for something else");
    lab.set_reply(false, false);
    assert_eq!(lab.call(SENDER, "SignOut").await, (false, 1), "permission to read");

    for _ in 0..2 {
        assert_eq!(lab.call(OTHER, "GetStatus").await, (false, 1), "a denial");
    }
    lab.reply_yes_because_of_a_password();
    for _ in 0..2 {
        assert_eq!(lab.call(OTHER, "GetStatus").await, (true, 1), "a password that was entered before");
    }
    lab.set_reply(false, true);
    for _ in 0..2 {
        let interactive = message(OTHER, "GetStatus", true);
        assert_eq!(lab.send(&interactive.header()).await, (false, 2), "a dialog");
    }
    let flags = |it: &Script| it.queries.last().unwrap().2;
    assert_eq!(flags(&lab.world.0.lock().unwrap()), 1);
}

#[tokio::test]
async fn user_of_a_sender_is_looked_up_once_and_membership_passed_to_polkit() {
    let lab = Lab::new(NOBODY).await;
    lab.set_reply(true, false);
    for _ in 0..3 {
        lab.call(SENDER, "SignOut").await;
    }
    let script = lab.world.0.lock().unwrap();
    assert_eq!(script.user_lookups, 1);
    let not_a_member = HashMap::from([("firezone.member".to_owned(), "false".to_owned())]);
    for query in &script.queries {
        assert_eq!(query, &("dev.firezone.Client.sign-out".to_owned(), not_a_member.clone(), 0));
    }
}
