//! Caller and method → yes or no.
//!
//! Polkit alone decides on the system bus, asked about the sender of the message. What the group `firezone` may is a polkit
//! rule, so an administrator can extend or tighten it. Who is in it is looked up for each question ([`people`]) and told to
//! polkit with it ([`polkit`]), so nobody has to log in again: newer versions of polkit know only the groups that the
//! caller's process has had since its login. Permission to read is remembered for a second ([`callers`]), no other is. On the
//! private socket, where there is no polkit, the peer's user and its membership decide ([`peer`]).
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
//! "Password" means an administrator's, and only if the message allows to ask for one; otherwise it means no.
//! Which method needs which action is [`TABLE`]; what is not in it is refused. Before anybody is asked, [`limits`] see to
//! it that no caller has too many calls in the works, and [`turns`] that nobody's calls keep polkit from those of others.

use std::time::Duration;

use dbus_api::Permission;
use zbus::{
    Connection,
    fdo::DBusProxy,
    message::{Flags, Header},
    names::BusName,
    proxy::CacheProperties,
};

use super::{
    callers::Callers,
    limits::{Limits, Place, Who},
    peer::Peer,
    people::People,
    polkit::{Polkit, Unanswered},
};

/// How long the bus may take to say whose process somebody is.
const LOOK_UP: Duration = Duration::from_secs(10);

/// What each method needs: interface (after the common beginning), method, action. Nothing means: anybody may.
const TABLE: &[(&str, &str, Option<Action>)] = &[
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

/// What the names of all our interfaces begin with.
const INTERFACES: &str = "dev.firezone.Client1";

/// Something that needs permission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// See what is private: account, addresses, resources.
    Read,
    /// Start a session.
    SignIn,
    /// End it.
    SignOut,
    /// Change how it works.
    Control,
    /// Look deeper, for help with a problem.
    Diagnose,
    /// Change settings.
    Configure,
}

/// Who was permitted. The call is in the works for as long as this lives.
#[derive(Debug)]
pub struct Caller {
    /// Whose process it is.
    pub uid: u32,
    _places: [Place; 2],
}

/// What polkit would say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is permitted.
    Yes,
    /// It would be, with a password.
    Challenge,
    /// It is not.
    No,
}

/// Lets calls pass, or not.
#[derive(Clone, Debug)]
pub struct Guard {
    judge: Judge,
    limits: Limits,
    callers: Callers,
}

/// Who decides.
#[derive(Clone, Debug)]
enum Judge {
    /// Polkit, on the system bus.
    Polkit { polkit: Polkit, bus: DBusProxy<'static> },
    /// What the kernel says about the other end of a socket, and the user database of it.
    Peer(Peer, People),
    /// Nobody: what is made up may be seen and commanded by all of its bus.
    Simulated { bus: DBusProxy<'static> },
    /// A list, for tests: what is on it is permitted.
    #[cfg(test)]
    Only(&'static [Action]),
}

impl Action {
    /// All of them, in the order in which they are explained to people.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::SignIn, Self::SignOut, Self::Control, Self::Diagnose, Self::Configure];

    /// As polkit knows it.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Read => "dev.firezone.Client.read",
            Self::SignIn => "dev.firezone.Client.sign-in",
            Self::SignOut => "dev.firezone.Client.sign-out",
            Self::Control => "dev.firezone.Client.control",
            Self::Diagnose => "dev.firezone.Client.diagnose",
            Self::Configure => "dev.firezone.Client.configure",
        }
    }

    /// As in the answer of `GetPermissions`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.id().rsplit('.').next().unwrap_or_default()
    }
}

impl Guard {
    /// A guard that asks polkit on this bus.
    pub async fn polkit(bus: &Connection, people: People) -> zbus::Result<Self> {
        let callers = Callers::default();
        let polkit = Polkit::new(bus, people, callers.clone()).await?;
        let bus = DBusProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        Ok(Self { callers, ..Self::new(Judge::Polkit { polkit, bus }) })
    }

    /// A guard of what is made up: all may everything.
    pub(super) async fn simulated(bus: &Connection) -> zbus::Result<Self> {
        let bus = DBusProxy::builder(bus).cache_properties(CacheProperties::No).build().await?;
        Ok(Self::new(Judge::Simulated { bus }))
    }

    /// A guard of one connection on the private socket. What all of them share is shared.
    pub(super) fn peer(peer: Peer, limits: Limits, people: People) -> Self {
        Self { limits, ..Self::new(Judge::Peer(peer, people)) }
    }

    #[cfg(test)]
    pub(super) fn only(permitted: &'static [Action]) -> Self {
        Self::new(Judge::Only(permitted))
    }

    fn new(judge: Judge) -> Self {
        Self { judge, limits: Limits::default(), callers: Callers::default() }
    }

    /// Lets the sender of this message call what it calls, or says why not.
    pub async fn permit(&self, header: &Header<'_>) -> Result<Caller, dbus_api::Error> {
        let caller = self.admit(header).await?;
        let Some(action) = needed(header)? else { return Ok(caller) };
        if let Judge::Polkit { polkit, .. } = &self.judge
            && polkit.has_let(header, action)
        {
            return Ok(caller);
        }
        // dbus(1): a caller that sets this flag has time for a person to be asked.
        let interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        match self.judge(&caller, header, action, interactive).await {
            Ok(Verdict::Yes) => Ok(caller),
            Ok(Verdict::Challenge | Verdict::No) => {
                Err(dbus_api::Error::NotAuthorized(format!("{} is not permitted", action.id())))
            }
            Err(error) => {
                tracing::warn!(%error, action = action.id(), "polkit cannot be asked, so the answer is no");
                Err(dbus_api::Error::NotAuthorized(format!("polkit cannot be asked about {}", action.id())))
            }
        }
    }

    /// What the sender of this message would be told, without bothering anybody. No polkit means no.
    pub async fn preview(&self, caller: &Caller, header: &Header<'_>, action: Action) -> Verdict {
        self.judge(caller, header, action, false).await.unwrap_or(Verdict::No)
    }

    /// Finds out whose call this is, and takes a place for it: first among the calls of this sender, which costs nothing
    /// to find out, then among those of its user.
    async fn admit(&self, header: &Header<'_>) -> Result<Caller, dbus_api::Error> {
        let busy = || dbus_api::Error::LimitReached("too many calls of this caller are in the works".to_owned());
        let sender = match &self.judge {
            Judge::Peer(peer, _) => Who::Connection(peer.name.clone()),
            _ => Who::Connection(header.sender().map(ToString::to_string).unwrap_or_default()),
        };
        let first = self.limits.enter(sender).ok_or_else(busy)?;
        let uid = match &self.judge {
            Judge::Polkit { bus, .. } | Judge::Simulated { bus } => self.owner(bus, header).await?,
            Judge::Peer(peer, _) => peer.uid,
            #[cfg(test)]
            Judge::Only(_) => 0,
        };
        let second = self.limits.enter(Who::User(uid)).ok_or_else(busy)?;
        Ok(Caller { uid, _places: [first, second] })
    }

    async fn judge(
        &self,
        caller: &Caller,
        header: &Header<'_>,
        action: Action,
        interactive: bool,
    ) -> Result<Verdict, Unanswered> {
        match &self.judge {
            Judge::Polkit { polkit, .. } => polkit.verdict(caller.uid, header, action, interactive).await,
            Judge::Peer(peer, people) => Ok(peer.verdict(people).await),
            Judge::Simulated { .. } => Ok(Verdict::Yes),
            #[cfg(test)]
            Judge::Only(permitted) => Ok(if permitted.contains(&action) { Verdict::Yes } else { Verdict::No }),
        }
    }

    /// Whose process has sent this message. Who is gone is permitted nothing.
    async fn owner(&self, bus: &DBusProxy<'_>, header: &Header<'_>) -> Result<u32, dbus_api::Error> {
        let gone = || dbus_api::Error::NotAuthorized("the caller is gone".to_owned());
        let sender = header.sender().ok_or_else(gone)?.to_owned();
        if let Some(uid) = self.callers.uid(&sender) {
            return Ok(uid);
        }
        let question = bus.get_connection_unix_user(BusName::Unique(sender.clone()));
        let uid = tokio::time::timeout(LOOK_UP, question).await.map_err(|_| gone())?.map_err(|_| gone())?;
        self.callers.learn(&sender, uid);
        Ok(uid)
    }
}

/// What the method that this message calls needs.
fn needed(header: &Header<'_>) -> Result<Option<Action>, dbus_api::Error> {
    let interface = header.interface().map(|name| name.as_str()).unwrap_or_default();
    let method = header.member().map(|name| name.as_str()).unwrap_or_default();
    TABLE
        .iter()
        .find(|(suffix, name, _)| interface.strip_prefix(INTERFACES) == Some(suffix) && method == *name)
        .map(|(.., action)| *action)
        .ok_or_else(|| dbus_api::Error::NotAuthorized(format!("nobody may call {interface}.{method}")))
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
    fn the_manual_says_what_each_method_needs() {
        let page = include_str!("../../../man/dev.firezone.Client.7").replace("\\-", "-");
        for (interface, method, action) in TABLE {
            let section = page.split_once(&format!("\n.SS {INTERFACES}{interface}\n")).unwrap().1;
            let entry = section.split_once(&format!("\n.B {method}(")).unwrap().1;
            let said = entry.split_once("\nAction: ").unwrap().1.split('.').next().unwrap();
            let needed = action.map_or("none", Action::word);
            assert_eq!(said, needed, "{interface}.{method}");
        }
    }

    #[test]
    fn every_method_of_the_contract_is_in_the_table() {
        let mut promised = 0;
        for (name, xml) in dbus_api::INTERFACES {
            let suffix = name.strip_prefix(INTERFACES).unwrap();
            for line in xml.lines().filter_map(|line| line.trim().strip_prefix("<method name=\"")) {
                let method = line.split('"').next().unwrap();
                assert!(TABLE.iter().any(|row| (row.0, row.1) == (suffix, method)), "{name}.{method}");
                promised += 1;
            }
        }
        assert_eq!(promised, TABLE.len(), "the table knows methods that nobody has promised");
    }
}
