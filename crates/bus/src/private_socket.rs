//! The same objects on a private socket, for machines without a system bus: containers.
//!
//! Clients speak D-Bus to the daemon directly. The mode of the socket admits root and the group `firezone`; each call is
//! authorized by the peer's user, which the kernel reports ([`super::authorizer`]).

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use zbus::{Guid, connection};

use crate::{
    authorizer::{Authorizer, Peer},
    call_limiter::{CallLimiter, Scope},
    daemon_handle::DaemonHandle,
    objects::Objects,
    publisher::Publisher,
};

/// Concurrent connections. More are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for the D-Bus handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The delay after the kernel failed to accept a connection, for lack of descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);

/// The served socket. Dropping it ends all connections.
#[derive(Debug)]
pub(super) struct PrivateSocket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl PrivateSocket {
    /// Serves `path`. The socket of a daemon that has ended is replaced; one that is served is not.
    pub(super) async fn serve(path: &Path, daemon: DaemonHandle) -> anyhow::Result<Self> {
        let listener = listen(path).await.with_context(|| format!("serve the private socket {}", path.display()))?;
        let task = tokio::spawn(accept(listener, daemon));
        Ok(Self { path: path.to_owned(), task })
    }

    /// Removes the socket, so that later clients learn at once that the daemon does not run.
    pub(super) fn leave(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "cannot remove the private socket");
        }
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens at `path`. The socket is moved there only once it has its owner and mode.
async fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("create the directory {}", directory.display()))?;
    }
    anyhow::ensure!(UnixStream::connect(path).await.is_err(), "another firezoned serves it");
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("remove the draft of the socket");
        }
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    // A client that connects before that is authorized for each call all the same.
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o660))?;
    match nix::unistd::Group::from_name(dbus_api::GROUP) {
        Ok(Some(group)) => std::os::unix::fs::chown(&draft, None, Some(group.gid.as_raw()))
            .unwrap_or_else(|error| tracing::warn!(%error, "only root can use the private socket")),
        _ => tracing::warn!("the group firezone does not exist: only root can use the private socket"),
    }
    fs::rename(&draft, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, daemon: DaemonHandle) {
    let limiter = CallLimiter::default();
    let mut number = 0_u64;
    let mut connections = JoinSet::new();
    loop {
        // Remove the connections that have ended.
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        let counted = limiter.begin(Scope::PrivateConnections(credentials.uid()));
        let Some(counted) = counted.filter(|_| connections.len() < MAX_CONNECTIONS) else {
            tracing::debug!("too many connections to the private socket");
            continue;
        };
        number += 1;
        let peer = Peer { uid: credentials.uid(), name: format!("peer {number}") };
        let (daemon, authorizer) = (daemon.clone(), Authorizer::peer(peer, limiter.clone(), daemon.users.clone()));
        connections.spawn(async move {
            let _counted = counted;
            if let Err(error) = serve_connection(stream, daemon, authorizer).await {
                tracing::debug!(%error, "a connection to the private socket failed");
            }
        });
    }
}

/// Serves one connection until it ends.
async fn serve_connection(stream: UnixStream, daemon: DaemonHandle, authorizer: Authorizer) -> anyhow::Result<()> {
    let connection = connection::Builder::unix_stream(stream).server(Guid::generate())?.p2p();
    let connection = Objects::new(&daemon, &authorizer).serve_with(connection)?.build();
    let connection =
        tokio::time::timeout(HANDSHAKE_TIMEOUT, connection).await.context("complete the handshake in time")??;
    let mut publisher = Publisher::start(&connection, daemon).await?;
    publisher.ended().await;
    Ok(())
}
