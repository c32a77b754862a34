//! Queries resolvers over TLS (RFC 7858): one connection for each resolver, with pipelined queries and responses in any order.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dns::Via;
use model::{Encryption, Resolver};
use rustls::{ClientConfig, pki_types::ServerName};
use tls::Roots;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    error::ForwardError,
    opportunistic,
    query::{Answered, Query, framed, id_of, with_id},
    sockets::Sockets,
};

/// Queries that wait to be sent on one connection. Further callers wait.
const QUERY_QUEUE: usize = 64;
/// Pending queries on one connection; their ids have to differ.
const MAX_IN_FLIGHT: usize = 1024;
/// How long an idle connection is kept. Shorter than the idle timeouts of common servers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for sending a query.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for opportunistic TLS: leaves time for plain DNS.
const OPPORTUNISTIC_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a resolver is known not to offer TLS.
const NO_TLS_LIFETIME: Duration = Duration::from_secs(300);

/// The connections to all resolvers that are queried over TLS.
#[derive(Debug)]
pub(super) struct DotClient {
    sockets: Sockets,
    roots: Roots,
    connections: Mutex<BTreeMap<Resolver, Connection>>,
    /// Resolvers that did not offer TLS, and when to try again.
    without_tls: Mutex<BTreeMap<SocketAddr, Instant>>,
}

/// A connection, or the attempt to make one. Closed when dropped.
#[derive(Debug)]
struct Connection {
    queries: mpsc::Sender<QueuedQuery>,
    task: JoinHandle<()>,
}

type Reply = oneshot::Sender<Result<Vec<u8>, ForwardError>>;

/// A query to be sent.
#[derive(Debug)]
struct QueuedQuery {
    query: Vec<u8>,
    /// Dropped if the connection ends before the response.
    reply: Reply,
}

/// The pending queries, by their id on the connection.
#[derive(Debug, Default)]
struct InFlight {
    queries: BTreeMap<u16, PendingQuery>,
    next_id: u16,
}

/// A query that has been sent.
#[derive(Debug)]
struct PendingQuery {
    /// The id of the original query.
    original_id: u16,
    sent_at: Instant,
    reply: Reply,
}

impl DotClient {
    pub(super) fn new(sockets: Sockets, roots: Roots) -> Self {
        Self { sockets, roots, connections: Mutex::default(), without_tls: Mutex::default() }
    }

    /// Sends a query. Servers may close an idle connection at any time; if an existing one fails, a new one is made.
    pub(super) async fn ask(&self, query: Query<'_>, resolver: &Resolver) -> Result<Answered, ForwardError> {
        let mut is_last = false;
        loop {
            let (queries, is_new) = self.connection(resolver);
            is_last |= is_new;
            match send(&queries, query).await {
                Err(ForwardError::Closed) if !is_last => {}
                Err(error) => return Err(error),
                Ok(bytes) => return query.parse_response(bytes),
            }
        }
    }

    /// Sends a query if the resolver offers TLS; `None` if it does not.
    pub(super) async fn ask_if_offered(
        &self,
        query: Query<'_>,
        resolver: &Resolver,
    ) -> Option<Result<Answered, ForwardError>> {
        let address = resolver.tls_address();
        let not_before = lock(&self.without_tls).get(&address).copied();
        if not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return None;
        }
        match timeout(OPPORTUNISTIC_TIMEOUT, self.ask(query, resolver)).await {
            Ok(Ok(answered)) => Some(Ok(answered)),
            Ok(Err(_)) | Err(_) => {
                lock(&self.connections).remove(resolver);
                let mut without_tls = lock(&self.without_tls);
                let now = Instant::now();
                without_tls.retain(|_, not_before| *not_before > now);
                without_tls.insert(address, now + NO_TLS_LIFETIME);
                None
            }
        }
    }

    /// Closes all connections: those of a former network hang while there are queries on them.
    pub(super) fn forget(&self) {
        lock(&self.connections).clear();
        lock(&self.without_tls).clear();
    }

    /// The connection to a resolver, and whether it is new.
    fn connection(&self, resolver: &Resolver) -> (mpsc::Sender<QueuedQuery>, bool) {
        let mut open = lock(&self.connections);
        open.retain(|_, connection| !connection.queries.is_closed());
        if let Some(connection) = open.get(resolver) {
            return (connection.queries.clone(), false);
        }
        let (queries, inbox) = mpsc::channel(QUERY_QUEUE);
        let task = tokio::spawn(run_connection(self.sockets, self.roots.clone(), resolver.clone(), inbox));
        open.insert(resolver.clone(), Connection { queries: queries.clone(), task });
        (queries, true)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(queries: &mpsc::Sender<QueuedQuery>, query: Query<'_>) -> Result<Vec<u8>, ForwardError> {
    let (reply, answer) = oneshot::channel();
    queries.send(QueuedQuery { query: query.bytes.to_vec(), reply }).await.map_err(|_| ForwardError::Closed)?;
    let bytes = answer.await.map_err(|_| ForwardError::Closed)??;
    Ok(with_id(bytes, id_of(query.bytes)))
}

/// The task of a connection.
async fn run_connection(sockets: Sockets, roots: Roots, resolver: Resolver, mut inbox: mpsc::Receiver<QueuedQuery>) {
    match connect(sockets, &roots, &resolver).await {
        Ok(stream) => {
            if let Err(error) = exchange(stream, &mut inbox).await {
                tracing::debug!(%error, "a connection to a resolver ended");
            }
        }
        Err(error) => {
            tracing::debug!(%error, "cannot connect to a resolver over TLS");
            // The first waiting query gets the reason; later queries make another attempt.
            inbox.close();
            let mut reason = Some(error);
            while let Some(queued) = inbox.recv().await {
                let _gone = queued.reply.send(Err(reason.take().unwrap_or(ForwardError::Closed)));
            }
        }
    }
}

async fn connect(sockets: Sockets, roots: &Roots, resolver: &Resolver) -> Result<TlsStream<TcpStream>, ForwardError> {
    let address = resolver.tls_address();
    let name = match &resolver.server_name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| ForwardError::NoServerName)?,
        None => ServerName::IpAddress(address.ip().into()),
    };
    let config: ClientConfig = match resolver.encryption {
        Encryption::Required => roots.client(&[]).await?,
        Encryption::Opportunistic | Encryption::None => opportunistic::client()?,
    };
    let stream = sockets.tcp(address, Via::Host).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// Sends queries and receives responses. Ends if a query timed out and nothing was received since it was sent: the route may
/// have changed. Every future here is cancel-safe: a receive from a channel, a read into a buffer that outlives it, and a
/// timer.
async fn exchange(mut stream: TlsStream<TcpStream>, inbox: &mut mpsc::Receiver<QueuedQuery>) -> io::Result<()> {
    let mut in_flight = InFlight::default();
    let mut received = Vec::new();
    let mut last_received = Instant::now();
    loop {
        if in_flight.remove_abandoned() > Some(last_received) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tokio::select! {
            queued = inbox.recv(), if in_flight.queries.len() < MAX_IN_FLIGHT => {
                let Some(queued) = queued else { return Ok(()) };
                if let Some(message) = in_flight.add(queued) {
                    timeout(WRITE_TIMEOUT, async { stream.write_all(&message).await?; stream.flush().await }).await??;
                }
            }
            read = stream.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                last_received = Instant::now();
                while let Some(message) = take_message(&mut received) {
                    in_flight.answer(message);
                }
            }
            () = sleep(IDLE_TIMEOUT) => {
                if in_flight.queries.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

impl InFlight {
    /// The message to send for a query. It gets an id that is unique on this connection; callers choose theirs freely.
    fn add(&mut self, queued: QueuedQuery) -> Option<Vec<u8>> {
        while self.queries.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let original_id = id_of(&queued.query);
        match framed(&with_id(queued.query, id)) {
            Ok(message) => {
                self.queries.insert(id, PendingQuery { original_id, sent_at: Instant::now(), reply: queued.reply });
                Some(message)
            }
            Err(error) => {
                let _gone = queued.reply.send(Err(error));
                None
            }
        }
    }

    fn answer(&mut self, message: Vec<u8>) {
        if let Some(PendingQuery { original_id, reply, .. }) = self.queries.remove(&id_of(&message)) {
            let _gone = reply.send(Ok(with_id(message, original_id)));
        }
    }

    /// Removes queries whose callers gave up; returns when the latest of them was sent.
    fn remove_abandoned(&mut self) -> Option<Instant> {
        let mut latest = None;
        self.queries.retain(|_, query| {
            let abandoned = query.reply.is_closed();
            if abandoned {
                latest = latest.max(Some(query.sent_at));
            }
            !abandoned
        });
        latest
    }
}

/// Removes the first complete message from the receive buffer.
fn take_message(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk()?));
    if received.len() < length.saturating_add(2) {
        return None;
    }
    let rest = received.split_off(length.saturating_add(2));
    let mut message = std::mem::replace(received, rest);
    message.drain(..2);
    Some(message)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
