//! What can happen to a session.

use dbus_api::Warning;
use model::{DeviceView, FromPortal, PublicKey, Resolver, ResourceId, ResourceView, Secret, ToPortal};
use portal::Rejection;
use tokio::sync::oneshot;
use tunnel::{DnsView, InterfaceConfig, NameExplanation};

use super::Reason;
use crate::host_config::HostConfig;

/// Something that has happened.
#[derive(Debug)]
pub enum Input {
    /// There is a session to be had without anybody asking, or with another token than before: service mode.
    Begin(Account),
    /// Somebody asks for something.
    Request(Request),
    /// The administrator asks for a rebuild.
    Reset,
    /// The daemon must end.
    Stop,
    /// The deadline of [`super::Session::poll_timeout`] has passed.
    TimeIsUp,

    /// The network interface and the packet thread are there.
    TunnelOpened(PublicKey),
    /// They cannot be had.
    TunnelFailed(Reason),
    /// The packet thread said its goodbyes and is gone, as asked.
    TunnelClosed,
    /// The packet thread is gone, unasked.
    TunnelDied,
    /// A gateway cannot be reached again and again; what is left to be tried is a new key and new sockets.
    NewKeyNeeded,
    /// The packet thread has a new key; the portal must know.
    NewPublicKey(PublicKey),
    /// Our end of the tunnel is different now.
    Interface(InterfaceConfig),
    /// The resources are different now.
    Resources(Vec<ResourceView>),
    /// These other clients are connected directly now.
    Devices(Vec<DeviceView>),
    /// No gateway serves this resource.
    GatewaysOffline(ResourceId),
    /// The gateways of this resource are of a version that does not work with ours.
    GatewayVersionMismatch(ResourceId),
    /// The tunnel wants this said to the portal.
    ToPortal(ToPortal),

    /// The portal let us in.
    Joined,
    /// The portal is away; the link tries again by itself.
    Lost(Reason),
    /// The portal, or something before it, does not let us in; the link tries again by itself.
    Rejected(Rejection),
    /// The portal says this to the tunnel.
    FromPortal(FromPortal),
    /// The link has given up.
    Ended(Reason),

    /// The host was brought in line with this wish.
    HostApplied {
        /// Which wish.
        wish: HostConfig,
        /// What could not be had.
        warnings: Vec<Warning>,
    },
    /// The machine has another network, or woke up.
    NetworkChanged,
    /// The machine has no way to the outside any more. `NetworkChanged` follows once it has.
    NetworkLost,
    /// Whether this network wants somebody to sign in first, with a browser.
    CaptivePortal(bool),
    /// Whether this machine sleeps. `NetworkChanged` or `NetworkLost` follow once it has woken up.
    Asleep(bool),
    /// The host's own resolvers are these.
    ResolversChanged(Vec<Resolver>),
}

/// What somebody asks for. Permission has been granted already.
#[derive(Debug)]
pub enum Request {
    /// A session with this account.
    SignIn(Account, Reply),
    /// The end of the session.
    SignOut(Reply),
    /// A rebuild of all connections.
    Reset(Reply),
    /// The Internet resource, on or off.
    SetInternetResource(bool, Reply),
    /// Something about names.
    Names(NamesRequest),
}

/// What somebody asks about names. No state of a session changes by it. Without a tunnel a question is never answered: the
/// sender is dropped.
#[derive(Debug)]
pub enum NamesRequest {
    /// Whom do we ask?
    Status(oneshot::Sender<DnsView>),
    /// Why is this name answered as it is?
    Explain(dns::Domain, oneshot::Sender<NameExplanation>),
    /// Forget what was remembered.
    Flush(Reply),
    /// Look anew whether this host asks us, and make it so.
    Reapply(Reply),
}

/// Whose session it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// What the portal knows us by.
    pub token: Secret,
    /// For display.
    pub slug: Option<String>,
    /// For display.
    pub actor: Option<String>,
}

/// Where the answer to a request goes, and who asked.
#[derive(Debug)]
pub struct Reply {
    answer: oneshot::Sender<Result<(), Refused>>,
    asker: Option<u32>,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Reply {
    /// A reply, and where it will arrive.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Result<(), Refused>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { answer, asker: None }, receiver)
    }

    /// The same, on behalf of this user.
    #[must_use]
    pub fn by(self, uid: u32) -> Self {
        Self { asker: Some(uid), ..self }
    }

    /// Which user asked, if it was one.
    pub(super) fn asker(&self) -> Option<u32> {
        self.asker
    }

    /// The request is accepted.
    pub fn accept(self) {
        // Whoever asked may have gone; the request counts all the same.
        let _gone = self.answer.send(Ok(()));
    }

    fn refuse(self, why: Refused) {
        let _gone = self.answer.send(Err(why));
    }
}

impl Input {
    /// Answers whoever asks something of a daemon that ends.
    pub(super) fn refuse(self) {
        if let Self::Request(
            Request::SignIn(_, reply)
            | Request::SignOut(reply)
            | Request::Reset(reply)
            | Request::SetInternetResource(_, reply)
            | Request::Names(NamesRequest::Flush(reply) | NamesRequest::Reapply(reply)),
        ) = self
        {
            reply.refuse(Refused::Stopping);
        }
    }
}
