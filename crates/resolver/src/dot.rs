//! Asking a resolver over TLS (RFC 7858): one connection for each, many queries on it, answered in any order.

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
    forward::{Answered, NoAnswer, Query},
    opportunistic,
    plain::{framed, id_of, with_id},
    sockets::Sockets,
};

/// How many queries wait for their turn on one connection. More wait at their askers.
const WAITING: usize = 64;
/// How many queries are on their way on one connection; their ids have to differ.
const IN_FLIGHT: usize = 1024;
/// How long a connection is kept without work. Long enough for the next page, shorter than servers are patient.
const IDLE: Duration = Duration::from_secs(10);
/// How long a server may take to take what we say.
const WRITE: Duration = Duration::from_secs(5);
/// How long making a connection may take where TLS is only a possibility: there has to be time for the other way.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long we remember that a resolver offers no TLS.
const NOT_OFFERED: Duration = Duration::from_secs(300);

/// The connections with all resolvers that are asked over TLS.
#[derive(Debug)]
pub(super) struct Streams {
    sockets: Sockets,
    roots: Roots,
    open: Mutex<BTreeMap<Resolver, Connection>>,
    /// Those that did not offer TLS, and when they may be asked about it again.
    open_only: Mutex<BTreeMap<SocketAddr, Instant>>,
}

/// A connection, or the attempt to make one. Ends when dropped.
#[derive(Debug)]
struct Connection {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

type Reply = oneshot::Sender<Result<Vec<u8>, NoAnswer>>;

/// One query.
#[derive(Debug)]
struct Job {
    query: Vec<u8>,
    /// Dropped if the connection ends before the answer comes.
    reply: Reply,
}

/// The queries on their way, by the id that they have on the connection.
#[derive(Debug, Default)]
struct InFlight {
    queries: BTreeMap<u16, Waiting>,
    next: u16,
}

/// A query on its way.
#[derive(Debug)]
struct Waiting {
    /// The id that its asker gave it.
    asked: u16,
    since: Instant,
    reply: Reply,
}

impl Streams {
    pub(super) fn new(sockets: Sockets, roots: Roots) -> Self {
        Self { sockets, roots, open: Mutex::default(), open_only: Mutex::default() }
    }

    /// Asks. If a connection that was there before ends meanwhile, which servers may do at any time, a new one is made.
    pub(super) async fn ask(&self, query: Query<'_>, resolver: &Resolver) -> Result<Answered, NoAnswer> {
        let mut is_last = false;
        loop {
            let (jobs, is_new) = self.connection(resolver);
            is_last |= is_new;
            match send(&jobs, query).await {
                Err(NoAnswer::Closed) if !is_last => {}
                Err(error) => return Err(error),
                Ok(bytes) => return query.answered(bytes),
            }
        }
    }

    /// Asks, if the resolver offers that. `None` if it does not.
    pub(super) async fn ask_if_offered(
        &self,
        query: Query<'_>,
        resolver: &Resolver,
    ) -> Option<Result<Answered, NoAnswer>> {
        let address = resolver.tls_address();
        let not_before = lock(&self.open_only).get(&address).copied();
        if not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return None;
        }
        match timeout(ATTEMPT, self.ask(query, resolver)).await {
            Ok(Ok(answered)) => Some(Ok(answered)),
            Ok(Err(_)) | Err(_) => {
                lock(&self.open).remove(resolver);
                let mut open_only = lock(&self.open_only);
                let now = Instant::now();
                open_only.retain(|_, not_before| *not_before > now);
                open_only.insert(address, now + NOT_OFFERED);
                None
            }
        }
    }

    /// Ends all connections: those of a network that is gone hang for as long as somebody asks on them.
    pub(super) fn forget(&self) {
        lock(&self.open).clear();
        lock(&self.open_only).clear();
    }

    /// The connection with a resolver, and whether it was not there before.
    fn connection(&self, resolver: &Resolver) -> (mpsc::Sender<Job>, bool) {
        let mut open = lock(&self.open);
        open.retain(|_, connection| !connection.jobs.is_closed());
        if let Some(connection) = open.get(resolver) {
            return (connection.jobs.clone(), false);
        }
        let (jobs, inbox) = mpsc::channel(WAITING);
        let task = tokio::spawn(live(self.sockets, self.roots.clone(), resolver.clone(), inbox));
        open.insert(resolver.clone(), Connection { jobs: jobs.clone(), task });
        (jobs, true)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(jobs: &mpsc::Sender<Job>, query: Query<'_>) -> Result<Vec<u8>, NoAnswer> {
    let (reply, answer) = oneshot::channel();
    jobs.send(Job { query: query.bytes.to_vec(), reply }).await.map_err(|_| NoAnswer::Closed)?;
    let bytes = answer.await.map_err(|_| NoAnswer::Closed)??;
    Ok(with_id(bytes, id_of(query.bytes)))
}

/// A connection from its making to its end.
async fn live(sockets: Sockets, roots: Roots, resolver: Resolver, mut inbox: mpsc::Receiver<Job>) {
    match connect(sockets, &roots, &resolver).await {
        Ok(stream) => {
            if let Err(error) = converse(stream, &mut inbox).await {
                tracing::debug!(%error, "a connection with a resolver ended");
            }
        }
        Err(error) => {
            tracing::debug!(%error, "cannot connect to a resolver over TLS");
            // Whoever waits hears why; who comes later makes another attempt.
            inbox.close();
            let mut why = Some(error);
            while let Some(job) = inbox.recv().await {
                let _gone = job.reply.send(Err(why.take().unwrap_or(NoAnswer::Closed)));
            }
        }
    }
}

async fn connect(sockets: Sockets, roots: &Roots, resolver: &Resolver) -> Result<TlsStream<TcpStream>, NoAnswer> {
    let address = resolver.tls_address();
    let name = match &resolver.server_name {
        Some(name) => ServerName::try_from(name.to_string()).map_err(|_| NoAnswer::NoServerName)?,
        None => ServerName::IpAddress(address.ip().into()),
    };
    let config: ClientConfig = match resolver.encryption {
        Encryption::Required => roots.client(&[]).await?,
        Encryption::Opportunistic | Encryption::None => opportunistic::client()?,
    };
    let stream = sockets.tcp(address, Via::Host).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// Carries queries there and answers back. A resolver of which nothing was heard since a query, until its asker lost
/// patience, is not asked on this connection again: the way there may be another one today. Every future here is cancel-safe: a receive from a channel, a read into a
/// buffer that outlives it, and a timer.
async fn converse(mut stream: TlsStream<TcpStream>, inbox: &mut mpsc::Receiver<Job>) -> io::Result<()> {
    let mut in_flight = InFlight::default();
    let mut received = Vec::new();
    let mut heard = Instant::now();
    loop {
        if in_flight.forget_those_who_gave_up() > Some(heard) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        tokio::select! {
            job = inbox.recv(), if in_flight.queries.len() < IN_FLIGHT => {
                let Some(job) = job else { return Ok(()) };
                if let Some(message) = in_flight.add(job) {
                    timeout(WRITE, async { stream.write_all(&message).await?; stream.flush().await }).await??;
                }
            }
            read = stream.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                heard = Instant::now();
                while let Some(message) = take_message(&mut received) {
                    in_flight.answer(message);
                }
            }
            () = sleep(IDLE) => {
                if in_flight.queries.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

impl InFlight {
    /// The message to write for a query. Its id is one that no other query on this connection has: askers choose theirs
    /// as they like.
    fn add(&mut self, job: Job) -> Option<Vec<u8>> {
        while self.queries.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let asked = id_of(&job.query);
        match framed(&with_id(job.query, id)) {
            Ok(message) => {
                self.queries.insert(id, Waiting { asked, since: Instant::now(), reply: job.reply });
                Some(message)
            }
            Err(error) => {
                let _gone = job.reply.send(Err(error));
                None
            }
        }
    }

    fn answer(&mut self, message: Vec<u8>) {
        if let Some(Waiting { asked, reply, .. }) = self.queries.remove(&id_of(&message)) {
            let _gone = reply.send(Ok(with_id(message, asked)));
        }
    }

    /// Returns when the latest of them was asked.
    fn forget_those_who_gave_up(&mut self) -> Option<Instant> {
        let mut latest = None;
        self.queries.retain(|_, query| {
            let gave_up = query.reply.is_closed();
            if gave_up {
                latest = latest.max(Some(query.since));
            }
            !gave_up
        });
        latest
    }
}

/// The first complete message of what was received.
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
