//! Authorization: whether the sender of a message may call a method.
//!
//! On the system bus, polkit alone decides about the sender of the message. The rights of the group `firezone` are a polkit
//! rule, so an administrator can extend or restrict them. The daemon looks the membership up for each query ([`user_db`])
//! and passes it to polkit, so a new member need not log in again: newer versions of polkit know only the groups that the
//! caller's process has had since its login. Polkit accepts such details from root and from an action's owner only, so no
//! user can claim a membership. Only permission to read is cached, for a second ([`caller_cache`]). On the private socket,
//! which is for machines without polkit, the peer's user and its membership decide.
//!
//! | method or property                            | action       | root | group `firezone` | others   | user `firezone` | no polkit |
//! |-----------------------------------------------|--------------|------|------------------|----------|-----------------|-----------|
//! | all properties, `StatusChanged`, `Changed`    | –            | yes  | yes              | yes      | yes             | yes       |
//! | `GetPermissions`                              | –            | yes  | yes              | yes      | yes             | yes       |
//! | `GetStatus`, `Resources.List`                 | `.read`      | yes  | yes              | password | no              | no        |
//! | `Dns.GetStatus`, `Dns.Explain`                | `.read`      | yes  | yes              | password | no              | no        |
//! | `Diagnostics.Path`, `Settings.Get`            | `.read`      | yes  | yes              | password | no              | no        |
//! | `Diagnostics.RunChecks`, `.Collect`           | `.diagnose`  | yes  | yes              | password | no              | no        |
//! | `Diagnostics.SetLogFilter`                    | `.diagnose`  | yes  | yes              | password | no              | no        |
//! | `Settings.Set`, `Settings.Reset`              | `.configure` | yes  | yes              | password | no              | no        |
//! | `SignIn`                                      | `.sign-in`   | yes  | yes              | password | no              | no        |
//! | `SignOut`                                     | `.sign-out`  | yes  | yes              | password | no              | no        |
//! | `Reset`, `Resources.SetInternetResource`      | `.control`   | yes  | yes              | password | no              | no        |
//! | `Dns.Flush`, `Dns.Reapply`                    | `.control`   | yes  | yes              | password | no              | no        |
//!
//! "Password" means an administrator's, and only if the message allows interactive authorization; otherwise it means no.
//! [`METHODS`] assigns actions to methods; other methods are denied. Before a query, [`call_limiter`] bounds the pending
//! calls of each caller, and [`polkit_queue`] keeps one user from delaying the queries of others.
//!
//! [`call_limiter`]: super::call_limiter
//! [`caller_cache`]: super::caller_cache
//! [`polkit_queue`]: super::polkit_queue
//! [`user_db`]: super::user_db

use std::{collections::HashMap, sync::Arc, time::Duration};

use dbus_api::{Error, Permission};
use futures_util::{StreamExt as _, stream};
use tokio::{task::JoinHandle, time::Instant};
use zbus::{
    Connection,
    fdo::DBusProxy,
    message::{Flags, Header},
    names::BusName,
    proxy::CacheProperties,
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::{
    call_limiter::{CallLimiter, PendingCall, Scope},
    caller_cache::CallerCache,
    polkit_queue::PolkitQueue,
    user_db::UserDatabase,
};

/// How long the bus may take to look up the user of a sender.
const BUS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long polkit may take without a dialog, including its own start.
const POLKIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long polkit may take with a dialog, in which a person enters a password.
const DIALOG_TIMEOUT: Duration = Duration::from_secs(120);

/// Polkit's detail for the membership in the group `firezone`: `true`, `false`, or absent if it is unknown.
const MEMBER_DETAIL: &str = "firezone.member";
/// The detail of polkit's reply if it is based on a password that was entered a while ago.
const TEMPORARY_DETAIL: &str = "polkit.temporary_authorization_id";

/// The action that each method needs: interface (without the common prefix), method, action. Methods without an action are
/// allowed for all callers.
const METHODS: &[(&str, &str, Option<Action>)] = &[
    ("", "SignIn", Some(Action::SignIn)),
    ("", "SignOut", Some(Action::SignOut)),
    ("", "Reset", Some(Action::Control)),
    ("", "GetStatus", Some(Action::Read)),
    ("", "GetPermissions", None),
    (".Resources", "List", Some(Action::Read)),
    (".Resources", "SetInternetResource", Some(Action::Control)),
    (".Dns", "GetStatus", Some(Action::Read)),
    (".Dns", "Explain", Some(Action::Read)),
    (".Dns", "Flush", Some(Action::Control)),
    (".Dns", "Reapply", Some(Action::Control)),
    (".Diagnostics", "RunChecks", Some(Action::Diagnose)),
    (".Diagnostics", "Collect", Some(Action::Diagnose)),
    (".Diagnostics", "Path", Some(Action::Read)),
    (".Diagnostics", "SetLogFilter", Some(Action::Diagnose)),
    (".Settings", "Get", Some(Action::Read)),
    (".Settings", "Set", Some(Action::Configure)),
    (".Settings", "Reset", Some(Action::Configure)),
];

/// The common prefix of all interfaces.
const INTERFACE_PREFIX: &str = "dev.firezone.Client1";

/// An action that needs permission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Action {
    /// Reads private data: account, addresses, resources.
    Read,
    /// Starts a session.
    SignIn,
    /// Ends a session.
    SignOut,
    /// Changes a running session.
    Control,
    /// Runs checks and writes reports.
    Diagnose,
    /// Changes settings.
    Configure,
}

/// An authorized caller. The call is pending for as long as this value exists.
#[derive(Debug)]
pub(super) struct Caller {
    /// The user id of the caller.
    pub(super) uid: u32,
    _pending: [PendingCall; 2],
}

/// The result of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Yes,
    /// Yes, with a password.
    Challenge,
    No,
}

/// Authorizes calls.
#[derive(Clone, Debug)]
pub(super) struct Authorizer {
    authority: Authority,
    limiter: CallLimiter,
    callers: CallerCache,
}

/// Where verdicts come from.
#[derive(Clone, Debug)]
enum Authority {
    /// Polkit, on the system bus.
    Polkit { polkit: Polkit, bus: DBusProxy<'static> },
    /// The peer's user, on the private socket.
    Peer { peer: Peer, users: UserDatabase },
    /// None: on the bus of a simulation, everything is allowed.
    Simulated { bus: DBusProxy<'static> },
    /// A list of permitted actions, for tests.
    #[cfg(test)]
    Fixed(&'static [Action]),
}

/// The other end of a connection to the private socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// Its user id, from the kernel.
    pub(super) uid: u32,
    /// The name of the connection, unique in this process.
    pub(super) name: String,
}

/// The client of polkit.
#[derive(Clone, Debug)]
struct Polkit {
    authority: AuthorityProxy<'static>,
    queue: PolkitQueue,
    users: UserDatabase,
    callers: CallerCache,
    _listener: Arc<ChangeListener>,
}

/// Clears the cached permissions when polkit announces a change.
#[derive(Debug)]
struct ChangeListener(JoinHandle<()>);

/// The reason why polkit gave no verdict.
#[derive(Debug, thiserror::Error)]
enum PolkitError {
    #[error("the message has no sender")]
    NoSender(#[source] zbus_polkit::Error),
    #[error(transparent)]
    Failed(#[from] zbus::Error),
    #[error("no reply in time")]
    TimedOut,
}

impl Action {
    /// All actions, in the order of the documentation.
    pub(super) const ALL: [Self; 6] =
        [Self::Read, Self::SignIn, Self::SignOut, Self::Control, Self::Diagnose, Self::Configure];

    /// The id of the action in polkit.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Read => "dev.firezone.Client.read",
            Self::SignIn => "dev.firezone.Client.sign-in",
            Self::SignOut => "dev.firezone.Client.sign-out",
            Self::Control => "dev.firezone.Client.control",
            Self::Diagnose => "dev.firezone.Client.diagnose",
            Self::Configure => "dev.firezone.Client.configure",
        }
    }

    /// The word in the reply of `GetPermissions`.
    pub(super) fn word(self) -> &'static str {
        self.id().rsplit('.').next().unwrap_or_default()
    }
}

impl Authorizer {
    /// Queries polkit on this bus.
    pub(super) async fn polkit(bus: &Connection, users: UserDatabase) -> zbus::Result<Self> {
        let callers = CallerCache::default();
        let polkit = Polkit::new(bus, users, callers.clone()).await?;
        let bus = DBusProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        Ok(Self { callers, ..Self::new(Authority::Polkit { polkit, bus }) })
    }

    /// Allows everything.
    pub(super) async fn simulated(bus: &Connection) -> zbus::Result<Self> {
        let bus = DBusProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        Ok(Self::new(Authority::Simulated { bus }))
    }

    /// Decides about one connection to the private socket. All connections share `limiter` and `users`.
    pub(super) fn peer(peer: Peer, limiter: CallLimiter, users: UserDatabase) -> Self {
        Self { limiter, ..Self::new(Authority::Peer { peer, users }) }
    }

    #[cfg(test)]
    pub(super) fn fixed(permitted: &'static [Action]) -> Self {
        Self::new(Authority::Fixed(permitted))
    }

    fn new(authority: Authority) -> Self {
        Self { authority, limiter: CallLimiter::default(), callers: CallerCache::default() }
    }

    /// Authorizes the sender of a message for the method that the message calls.
    pub(super) async fn authorize(&self, header: &Header<'_>) -> Result<Caller, Error> {
        let caller = self.admit(header).await?;
        let Some(action) = required_action(header)? else { return Ok(caller) };
        if let Authority::Polkit { polkit, .. } = &self.authority
            && polkit.is_cached(header, action)
        {
            return Ok(caller);
        }
        // dbus(1): with this flag, the caller waits while a person is asked for a password.
        let is_interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        match self.query(&caller, header, action, is_interactive).await {
            Ok(Verdict::Yes) => Ok(caller),
            Ok(Verdict::Challenge | Verdict::No) => {
                Err(Error::NotAuthorized(format!("{} is not permitted", action.id())))
            }
            Err(error) => {
                tracing::warn!(%error, action = action.id(), "polkit does not respond, the call is denied");
                Err(Error::NotAuthorized(format!("polkit does not respond about {}", action.id())))
            }
        }
    }

    /// The verdict for the sender of a message, without a dialog. A failed query means no.
    pub(super) async fn preview(&self, caller: &Caller, header: &Header<'_>, action: Action) -> Verdict {
        self.query(caller, header, action, false).await.unwrap_or(Verdict::No)
    }

    /// Identifies the caller and counts the call: first for the connection, which needs no look-up, then for the user.
    async fn admit(&self, header: &Header<'_>) -> Result<Caller, Error> {
        let limit = || Error::LimitReached("too many pending calls of this caller".to_owned());
        let connection = match &self.authority {
            Authority::Peer { peer, .. } => peer.name.clone(),
            _ => header.sender().map(ToString::to_string).unwrap_or_default(),
        };
        let of_connection = self.limiter.begin(Scope::Connection(connection)).ok_or_else(limit)?;
        let uid = match &self.authority {
            Authority::Polkit { bus, .. } | Authority::Simulated { bus } => self.sender_uid(bus, header).await?,
            Authority::Peer { peer, .. } => peer.uid,
            #[cfg(test)]
            Authority::Fixed(_) => 0,
        };
        let of_user = self.limiter.begin(Scope::User(uid)).ok_or_else(limit)?;
        Ok(Caller { uid, _pending: [of_connection, of_user] })
    }

    async fn query(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        action: Action,
        is_interactive: bool,
    ) -> Result<Verdict, PolkitError> {
        match &self.authority {
            Authority::Polkit { polkit, .. } => polkit.query(caller.uid, header, action, is_interactive).await,
            Authority::Peer { peer, users } => Ok(peer.verdict(users).await),
            Authority::Simulated { .. } => Ok(Verdict::Yes),
            #[cfg(test)]
            Authority::Fixed(permitted) => Ok(if permitted.contains(&action) { Verdict::Yes } else { Verdict::No }),
        }
    }

    /// The user id of the sender. A sender that has disconnected is denied.
    async fn sender_uid(&self, bus: &DBusProxy<'_>, header: &Header<'_>) -> Result<u32, Error> {
        let disconnected = || Error::NotAuthorized("the caller has disconnected".to_owned());
        let sender = header.sender().ok_or_else(disconnected)?.to_owned();
        if let Some(uid) = self.callers.uid(&sender) {
            return Ok(uid);
        }
        let query = bus.get_connection_unix_user(BusName::Unique(sender.clone()));
        let uid = tokio::time::timeout(BUS_TIMEOUT, query).await.map_err(|_| disconnected())?;
        let uid = uid.map_err(|_| disconnected())?;
        self.callers.insert(&sender, uid);
        Ok(uid)
    }
}

impl Peer {
    /// The same rights as with polkit, without passwords: root and members of the group may call everything, a gateway's user
    /// and other users nothing. A user that the database does not know is denied.
    async fn verdict(&self, users: &UserDatabase) -> Verdict {
        if self.uid == 0 || users.is_member(self.uid).await == Some(true) { Verdict::Yes } else { Verdict::No }
    }
}

impl Polkit {
    async fn new(bus: &Connection, users: UserDatabase, callers: CallerCache) -> zbus::Result<Self> {
        let authority = AuthorityProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        let listener = Arc::new(ChangeListener::start(&authority, callers.clone()).await?);
        Ok(Self { authority, queue: PolkitQueue::default(), users, callers, _listener: listener })
    }

    /// Whether polkit has recently permitted this action to the sender.
    fn is_cached(&self, header: &Header<'_>, action: Action) -> bool {
        let may_read = |name: &str| self.callers.may_read(name, Instant::now());
        action == Action::Read && header.sender().is_some_and(|name| may_read(name))
    }

    /// The verdict for the sender of a message, a process of user `uid`.
    async fn query(
        &self,
        uid: u32,
        header: &Header<'_>,
        action: Action,
        is_interactive: bool,
    ) -> Result<Verdict, PolkitError> {
        let queue = self.queue.of_user(uid);
        let slot = queue.query_slot().await;
        let started = self.callers.start_query(Instant::now());
        // Irrelevant for root.
        let is_member = if uid == 0 { None } else { self.users.is_member(uid).await };
        let reply = self.check(header, action, is_member, false).await;
        if !matches!(reply, Ok((Verdict::Yes, _))) {
            queue.count_denial();
        }
        drop(slot);
        let (verdict, is_temporary) = reply?;
        if let (Verdict::Yes, false, Action::Read, Some(name)) = (verdict, is_temporary, action, header.sender()) {
            self.callers.allow_read(name, started);
        }
        if verdict != Verdict::Challenge || !is_interactive {
            return Ok(verdict);
        }
        let _slot = queue.dialog_slot().await;
        Ok(self.check(header, action, is_member, true).await?.0)
    }

    /// Returns the verdict, and whether it is based on a password that was entered a while ago.
    async fn check(
        &self,
        header: &Header<'_>,
        action: Action,
        is_member: Option<bool>,
        is_interactive: bool,
    ) -> Result<(Verdict, bool), PolkitError> {
        let subject = Subject::new_for_message_header(header).map_err(PolkitError::NoSender)?;
        let (flags, timeout) = if is_interactive {
            (CheckAuthorizationFlags::AllowUserInteraction.into(), DIALOG_TIMEOUT)
        } else {
            (Default::default(), POLKIT_TIMEOUT)
        };
        let details: HashMap<_, _> =
            is_member.map(|it| (MEMBER_DETAIL, if it { "true" } else { "false" })).into_iter().collect();
        let query = self.authority.check_authorization(&subject, action.id(), &details, flags, "");
        let reply = tokio::time::timeout(timeout, query).await.map_err(|_| PolkitError::TimedOut)??;
        let verdict = match (reply.is_authorized, reply.is_challenge) {
            (true, _) => Verdict::Yes,
            (false, true) => Verdict::Challenge,
            (false, false) => Verdict::No,
        };
        Ok((verdict, reply.details.contains_key(TEMPORARY_DETAIL)))
    }
}

impl ChangeListener {
    /// Listens for changes of rules, sessions and grants, and for another owner of polkit's name.
    async fn start(authority: &AuthorityProxy<'static>, callers: CallerCache) -> zbus::Result<Self> {
        let changes = authority.receive_changed().await?.map(drop);
        let owners = authority.inner().receive_owner_changed().await?.map(drop);
        let mut events = stream::select(changes, owners);
        Ok(Self(tokio::spawn(async move {
            while let Some(()) = events.next().await {
                callers.clear_permissions();
            }
        })))
    }
}

impl Drop for ChangeListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The action that the called method needs.
fn required_action(header: &Header<'_>) -> Result<Option<Action>, Error> {
    let interface = header.interface().map(|name| name.as_str()).unwrap_or_default();
    let method = header.member().map(|name| name.as_str()).unwrap_or_default();
    METHODS
        .iter()
        .find(|(suffix, name, _)| interface.strip_prefix(INTERFACE_PREFIX) == Some(suffix) && method == *name)
        .map(|(.., action)| *action)
        .ok_or_else(|| Error::NotAuthorized(format!("{interface}.{method} is not a method of this service")))
}

impl From<Verdict> for Permission {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Yes => Self::Yes,
            Verdict::Challenge => Self::Challenge,
            Verdict::No => Self::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_page_names_the_action_of_each_method() {
        let page = include_str!("../../../man/dev.firezone.Client.7").replace("\\-", "-");
        for (interface, method, action) in METHODS {
            let section = page.split_once(&format!("\n.SS {INTERFACE_PREFIX}{interface}\n")).unwrap().1;
            let entry = section.split_once(&format!("\n.B {method}(")).unwrap().1;
            let documented = entry.split_once("\nAction: ").unwrap().1.split('.').next().unwrap();
            let required = action.map_or("none", Action::word);
            assert_eq!(documented, required, "{interface}.{method}");
        }
    }

    #[test]
    fn every_method_of_the_contract_is_in_the_table() {
        let mut methods = 0;
        for (name, xml) in dbus_api::INTERFACES {
            let suffix = name.strip_prefix(INTERFACE_PREFIX).unwrap();
            for line in xml.lines().filter_map(|line| line.trim().strip_prefix("<method name=\"")) {
                let method = line.split('"').next().unwrap();
                assert!(METHODS.iter().any(|row| (row.0, row.1) == (suffix, method)), "{name}.{method}");
                methods += 1;
            }
        }
        assert_eq!(methods, METHODS.len(), "the table contains methods that are not in the contract");
    }

    #[tokio::test]
    async fn root_is_permitted_and_an_unknown_user_denied() {
        let users = UserDatabase::default();
        let peer = |uid| Peer { uid, name: String::new() };
        assert_eq!(peer(0).verdict(&users).await, Verdict::Yes);
        assert_eq!(peer(u32::MAX - 7).verdict(&users).await, Verdict::No);
    }
}
