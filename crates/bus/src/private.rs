//! The same objects on a private socket, for machines without a system bus: containers.
//!
//! Who connects speaks D-Bus to us directly. The socket is for root and the group `firezone`; who of them may what is
//! decided for each call ([`super::peer`]), from what the kernel says about the other end.

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

use super::{
    Daemon, Guard, Objects,
    limits::{Limits, Who},
    peer::Peer,
    publish::Publisher,
};

/// How many may be connected at once. One more is turned away.
const CONNECTIONS: usize = 64;
/// How long somebody may take to say who they are.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait when the kernel cannot give us a connection: it is out of descriptors or memory.
const RESPITE: Duration = Duration::from_millis(200);

/// The socket as we serve it. Dropping it ends all connections.
#[derive(Debug)]
pub(super) struct PrivateSocket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl PrivateSocket {
    /// Serves `path`. A socket that an earlier daemon has left is replaced; one that somebody serves is not.
    pub(super) async fn serve(path: &Path, daemon: Daemon) -> anyhow::Result<Self> {
        let listener = listen(path).await.with_context(|| format!("serve the private socket {}", path.display()))?;
        let task = tokio::spawn(accept(listener, daemon));
        Ok(Self { path: path.to_owned(), task })
    }

    /// Takes the socket away, so that whoever asks from now on hears at once that there is nobody.
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

/// Listens at `path`. The socket gets its place only once it has its owner and mode.
async fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("make the directory {}", directory.display()))?;
    }
    anyhow::ensure!(UnixStream::connect(path).await.is_err(), "another firezoned serves it");
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("remove a draft of it"),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    // Who is in the way in between finds a socket whose every call is decided all the same.
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o660))?;
    match nix::unistd::Group::from_name("firezone") {
        Ok(Some(group)) => std::os::unix::fs::chown(&draft, None, Some(group.gid.as_raw()))
            .unwrap_or_else(|error| tracing::warn!(%error, "only root can use the private socket")),
        _ => tracing::warn!("there is no group firezone: only root can use the private socket"),
    }
    fs::rename(&draft, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, daemon: Daemon) {
    let limits = Limits::default();
    let mut number = 0_u64;
    let mut connections = JoinSet::new();
    loop {
        // Those that have ended, whatever their end.
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(RESPITE).await;
                continue;
            }
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        let place = limits.enter(Who::Guest(credentials.uid()));
        let Some(place) = place.filter(|_| connections.len() < CONNECTIONS) else {
            tracing::debug!("too many connections to the private socket");
            continue;
        };
        number += 1;
        let peer = Peer { uid: credentials.uid(), name: format!("peer {number}") };
        let (daemon, guard) = (daemon.clone(), Guard::peer(peer, limits.clone(), daemon.people.clone()));
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, daemon, guard).await {
                tracing::debug!(%error, "a connection to the private socket failed");
            }
        });
    }
}

/// One connection, to its end.
async fn converse(stream: UnixStream, daemon: Daemon, guard: Guard) -> anyhow::Result<()> {
    let connection = connection::Builder::unix_stream(stream).server(Guid::generate())?.p2p();
    let connection = Objects::new(&daemon, &guard).put_before(connection)?.build();
    let connection = tokio::time::timeout(PATIENCE, connection).await.context("greet in time")??;
    let mut publisher = Publisher::start(&connection, daemon).await?;
    publisher.ended().await;
    Ok(())
}
