//! Caller and action → yes or no.
//!
//! Polkit alone decides, asked about the sender of the message. Who is in the group `firezone` is a polkit rule that
//! looks membership up when it is asked, so an administrator can extend or tighten it and nobody has to log in again.
//!
//! | method or property                            | action       | root | group `firezone` | others   | no polkit |
//! |-----------------------------------------------|--------------|------|------------------|----------|-----------|
//! | all properties, `StatusChanged`, `Changed`    | –            | yes  | yes              | yes      | yes       |
//! | `GetPermissions`                              | –            | yes  | yes              | yes      | yes       |
//! | `GetStatus`, `Resources.List`                 | `.read`      | yes  | yes              | password | no        |
//! | `SignIn`                                      | `.sign-in`   | yes  | yes              | password | no        |
//! | `SignOut`                                     | `.sign-out`  | yes  | yes              | password | no        |
//! | `Reset`, `Resources.SetInternetResource`      | `.control`   | yes  | yes              | password | no        |
//!
//! "Password" means an administrator's, and only if the message allows to ask for one; otherwise it means no.

use std::time::Duration;

use zbus::{
    Connection,
    message::{Flags, Header},
};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

/// How long polkit may take to look something up, including its own start.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long a person may take to find a password.
const INTERACTION: Duration = Duration::from_secs(120);

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

/// Who was permitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The caller's unique name on the bus; empty where there is no bus.
    pub name: String,
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

/// Who decides.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Polkit, on the system bus.
    Polkit(AuthorityProxy<'static>),
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
    pub async fn polkit(bus: &Connection) -> zbus::Result<Self> {
        let authority = AuthorityProxy::builder(bus).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
        Ok(Self::Polkit(authority))
    }

    /// Lets the sender of this message pass, or says why not.
    pub async fn permit(&self, header: &Header<'_>, action: Action) -> Result<Caller, dbus_api::Error> {
        // dbus(1): a caller that sets this flag has time for a person to be asked.
        let interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        match self.judge(header, action, interactive).await {
            Ok(Verdict::Yes) => Ok(Caller { name: header.sender().map(ToString::to_string).unwrap_or_default() }),
            Ok(Verdict::Challenge | Verdict::No) => {
                Err(dbus_api::Error::NotAuthorized(format!("polkit does not permit {}", action.id())))
            }
            Err(error) => {
                tracing::warn!(%error, action = action.id(), "polkit cannot be asked, so the answer is no");
                Err(dbus_api::Error::NotAuthorized(format!("polkit cannot be asked about {}", action.id())))
            }
        }
    }

    /// What the sender of this message would be told, without bothering anybody. No polkit means no.
    pub async fn preview(&self, header: &Header<'_>, action: Action) -> Verdict {
        self.judge(header, action, false).await.unwrap_or(Verdict::No)
    }

    async fn judge(&self, header: &Header<'_>, action: Action, interactive: bool) -> Result<Verdict, Unanswered> {
        match self {
            Self::Polkit(authority) => ask(authority, header, action, interactive).await,
            #[cfg(test)]
            Self::Only(permitted) => Ok(if permitted.contains(&action) { Verdict::Yes } else { Verdict::No }),
        }
    }
}

impl Verdict {
    /// As in the answer of `GetPermissions`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Challenge => "challenge",
            Self::No => "no",
        }
    }
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the message has no sender")]
    NoSender(#[source] zbus_polkit::Error),
    #[error(transparent)]
    Failed(#[from] zbus::Error),
    #[error("no answer in time")]
    TimedOut,
}

async fn ask(
    authority: &AuthorityProxy<'_>,
    header: &Header<'_>,
    action: Action,
    interactive: bool,
) -> Result<Verdict, Unanswered> {
    let subject = Subject::new_for_message_header(header).map_err(Unanswered::NoSender)?;
    let (flags, patience) = if interactive {
        (CheckAuthorizationFlags::AllowUserInteraction.into(), INTERACTION)
    } else {
        (Default::default(), LOOK_UP)
    };
    let details = std::collections::HashMap::new();
    let question = authority.check_authorization(&subject, action.id(), &details, flags, "");
    let answer = tokio::time::timeout(patience, question).await.map_err(|_| Unanswered::TimedOut)??;
    Ok(match (answer.is_authorized, answer.is_challenge) {
        (true, _) => Verdict::Yes,
        (false, true) => Verdict::Challenge,
        (false, false) => Verdict::No,
    })
}
