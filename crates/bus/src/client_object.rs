//! `dev.firezone.Client1`: the session and its status.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use dbus_api::{Error, Gateway, PathKind, Permission, State, Status};
use futures_util::future;
use tunnel::PathView;
use zbus::{interface, message::Header, object_server::SignalEmitter, zvariant::OwnedFd};

use crate::{
    authorizer::{Action, Authorizer},
    daemon_handle::DaemonHandle,
    options::{self, Options},
    token_fd,
};
use session::{Account, Request, snapshot};

/// The interface, for authorized callers.
#[derive(Debug)]
pub(super) struct ClientObject {
    daemon: DaemonHandle,
    authorizer: Authorizer,
}

impl ClientObject {
    pub(super) fn new(daemon: DaemonHandle, authorizer: Authorizer) -> Self {
        Self { daemon, authorizer }
    }
}

#[interface(name = "dev.firezone.Client1")]
impl ClientObject {
    async fn sign_in(&self, #[zbus(header)] header: Header<'_>, token: OwnedFd, options: Options) -> Result<(), Error> {
        let caller = Arc::new(self.authorizer.authorize(&header).await?);
        let options = options::sign_in(options)?;
        let token = token_fd::read(token.into(), Arc::clone(&caller)).await;
        let token = token.map_err(|error| Error::InvalidToken(error.to_string()))?;
        let account = Account { token, slug: options.account_slug, actor: options.actor_name };
        self.daemon.request(Request::SignIn { account, uid: caller.uid }).await
    }

    async fn sign_out(&self, #[zbus(header)] header: Header<'_>, options: Options) -> Result<(), Error> {
        let caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        self.daemon.request(Request::SignOut { uid: caller.uid }).await
    }

    async fn reset(&self, #[zbus(header)] header: Header<'_>, options: Options) -> Result<(), Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        self.daemon.request(Request::Reset).await
    }

    #[zbus(out_args("status"))]
    async fn get_status(&self, #[zbus(header)] header: Header<'_>, options: Options) -> Result<Status, Error> {
        let _caller = self.authorizer.authorize(&header).await?;
        options::none(options)?;
        Ok(status(&self.daemon).await)
    }

    #[zbus(out_args("permissions"))]
    async fn get_permissions(&self, #[zbus(header)] header: Header<'_>) -> Result<BTreeMap<String, Permission>, Error> {
        let caller = self.authorizer.authorize(&header).await?;
        let verdicts = Action::ALL.map(|action| self.authorizer.preview(&caller, &header, action));
        let verdicts = future::join_all(verdicts).await;
        let permissions = Action::ALL.iter().zip(verdicts);
        Ok(permissions.map(|(action, verdict)| (action.word().to_owned(), verdict.into())).collect())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn state(&self) -> State {
        self.daemon.snapshot.borrow().state.clone()
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        self.daemon.snapshot.borrow().reason_code().to_owned()
    }

    #[zbus(property)]
    fn internet_resource_active(&self) -> bool {
        self.daemon.snapshot.borrow().internet_resource_active
    }

    #[zbus(signal)]
    pub(super) async fn status_changed(emitter: &SignalEmitter<'_>, generation: u64) -> zbus::Result<()>;
}

/// The reply of `GetStatus`, with private data.
pub(super) async fn status(daemon: &DaemonHandle) -> Status {
    let now = daemon.clock.now();
    let gateways = daemon.statistics.read().await.paths.iter().map(|path| gateway(path, now)).collect();
    let asked_by = daemon.snapshot.borrow().asked_by;
    let asked_by = match asked_by {
        Some(uid) => Some(daemon.users.name(uid).await),
        None => None,
    };
    let snapshot = daemon.snapshot.borrow();
    let devices = snapshot.devices.iter().map(snapshot::device).collect();
    Status { gateways: Some(gateways), devices: Some(devices), asked_by, ..snapshot.to_status(daemon.started) }
}

/// One connection as on the bus. Addresses are private; the kind of the path is sufficient.
pub(super) fn gateway(view: &PathView, now: Instant) -> Gateway {
    let path = view.path.as_ref();
    Gateway {
        id: view.gateway.to_string(),
        path: match path.map(|path| &path.kind) {
            Some(connection::PathKind::Direct) => PathKind::Direct,
            Some(connection::PathKind::PeerRelay | connection::PathKind::Relay(_)) => PathKind::Relayed,
            None => PathKind::Connecting,
        },
        last_handshake_seconds: path
            .and_then(|path| path.last_handshake)
            .map(|at| now.saturating_duration_since(at).as_secs()),
        round_trip_microseconds: path
            .and_then(|path| path.round_trip)
            .map(|time| time.as_micros().try_into().unwrap_or(u64::MAX)),
        sent_bytes: path.map(|path| path.sent),
        received_bytes: path.map(|path| path.received),
    }
}
