//! From the portal's name to its addresses, past the tunnel.
//!
//! All of the host's own resolvers are asked at once for both families, over UDP and, if that brought nothing, over TCP;
//! `/etc/hosts` and addresses in place of names count too. Nothing is asked of the system's library, which would end up at
//! the tunnel's own resolver.
//!
//! Each address is told as soon as it is known: one resolver that is dead must not keep the answers of the others waiting.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use portal::DialError;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UdpSocket,
    time::timeout,
};

use super::dial::{mark, tcp};

/// For each question.
const ANSWER: Duration = Duration::from_secs(2);
/// Nobody has more resolvers than this for a reason.
const MOST_SERVERS: usize = 8;
/// A portal has a handful of addresses.
const MOST_ADDRESSES: usize = 32;
/// Nobody edits larger files by hand.
const LARGEST_HOSTS: u64 = 1 << 20;

/// Whom to ask.
pub(super) struct Resolver<'a> {
    pub(super) servers: &'a [SocketAddr],
    pub(super) hosts: &'a Path,
    pub(super) mark: u32,
}

/// What all questions brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// Addresses, or everybody's word that there is no such name.
    Clear,
    /// Neither.
    Unclear,
}

/// What one question brought.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// Nothing usable.
    Nothing,
}

/// The addresses that were found so far, each once.
struct Found<'a> {
    addresses: Vec<IpAddr>,
    tell: &'a mut (dyn FnMut(IpAddr) + Send),
}

/// Finds all addresses of `host`, which may be one itself, and tells each as soon as it is known.
pub(super) async fn resolve(
    resolver: &Resolver<'_>,
    host: &str,
    tell: &mut (dyn FnMut(IpAddr) + Send),
) -> Result<(), DialError> {
    let mut found = Found { addresses: Vec::new(), tell };
    if let Ok(ip) = host.parse() {
        found.add([ip]);
        return Ok(());
    }
    found.add(hosts(resolver.hosts, host).await);
    resolver.ask_all(host, &mut found).await?;
    if found.addresses.is_empty() { Err(DialError::NoAddress) } else { Ok(()) }
}

impl Found<'_> {
    fn add(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for ip in addresses {
            if !self.addresses.contains(&ip) && self.addresses.len() < MOST_ADDRESSES {
                self.addresses.push(ip);
                (self.tell)(ip);
            }
        }
    }
}

impl Resolver<'_> {
    async fn ask_all(&self, host: &str, found: &mut Found<'_>) -> Result<(), DialError> {
        let Ok(name) = Name::from_ascii(format!("{}.", host.trim_end_matches('.'))) else { return Ok(()) };
        let servers = self.servers.iter().take(MOST_SERVERS);
        let questions: Vec<_> =
            servers.flat_map(|&server| [(server, RecordType::A), (server, RecordType::AAAA)]).collect();
        let udp = questions.iter().map(|&(server, kind)| self.udp(server, &name, kind)).collect();
        // Some routers forward UDP badly; but if all agree that there is no such name, there is none.
        if Self::collect(udp, found).await? == Outcome::Unclear {
            let tcp = questions.iter().map(|&(server, kind)| self.tcp(server, &name, kind)).collect();
            Self::collect(tcp, found).await?;
        }
        Ok(())
    }

    async fn collect(
        mut answers: FuturesUnordered<impl Future<Output = Result<Answer, DialError>>>,
        found: &mut Found<'_>,
    ) -> Result<Outcome, DialError> {
        let mut outcome = Outcome::Clear;
        let mut any = false;
        while let Some(answer) = answers.next().await {
            match answer? {
                Answer::Addresses(addresses) => {
                    any |= !addresses.is_empty();
                    if addresses.is_empty() {
                        outcome = Outcome::Unclear;
                    }
                    found.add(addresses);
                }
                Answer::NoSuchName => {}
                Answer::Nothing => outcome = Outcome::Unclear,
            }
        }
        Ok(if any { Outcome::Clear } else { outcome })
    }

    async fn udp(&self, server: SocketAddr, name: &Name, kind: RecordType) -> Result<Answer, DialError> {
        let socket = match self.udp_socket(server) {
            Ok(socket) => socket,
            Err(DialError::CannotMark) => return Err(DialError::CannotMark),
            Err(_) => return Ok(Answer::Nothing),
        };
        let exchange = async {
            let (id, question) = question(name, kind)?;
            socket.send(&question).await.ok()?;
            let mut buffer = vec![0; usize::from(u16::MAX)];
            loop {
                let length = socket.recv(&mut buffer).await.ok()?;
                if let Some(answer) = buffer.get(..length).and_then(|bytes| understand(bytes, id, name, kind)) {
                    return Some(answer);
                }
            }
        };
        Ok(timeout(ANSWER, exchange).await.ok().flatten().unwrap_or(Answer::Nothing))
    }

    async fn tcp(&self, server: SocketAddr, name: &Name, kind: RecordType) -> Result<Answer, DialError> {
        let exchange = async {
            let mut stream = match tcp(server, self.mark).await {
                Ok(stream) => stream,
                Err(DialError::CannotMark) => return Err(DialError::CannotMark),
                Err(_) => return Ok(None),
            };
            let exchange = async {
                let (id, question) = question(name, kind)?;
                let length = u16::try_from(question.len()).ok()?;
                stream.write_all(&[&length.to_be_bytes()[..], &question].concat()).await.ok()?;
                let length = stream.read_u16().await.ok()?;
                let mut bytes = vec![0; usize::from(length)];
                stream.read_exact(&mut bytes).await.ok()?;
                understand(&bytes, id, name, kind)
            };
            Ok(exchange.await)
        };
        match timeout(ANSWER, exchange).await {
            Ok(answer) => Ok(answer?.unwrap_or(Answer::Nothing)),
            Err(_) => Ok(Answer::Nothing),
        }
    }

    /// Connected, so that only the server's own packets are heard.
    fn udp_socket(&self, server: SocketAddr) -> Result<UdpSocket, DialError> {
        let unreachable = |_| DialError::Unreachable;
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP)).map_err(unreachable)?;
        mark(&SockRef::from(&socket), self.mark)?;
        socket.set_nonblocking(true).map_err(unreachable)?;
        socket.connect(&server.into()).map_err(unreachable)?;
        UdpSocket::from_std(socket.into()).map_err(unreachable)
    }
}

fn question(name: &Name, kind: RecordType) -> Option<(u16, Vec<u8>)> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), kind));
    Some((message.metadata.id, message.to_vec().ok()?))
}

/// The answer to this question, or `None` if it answers another.
fn understand(bytes: &[u8], id: u16, name: &Name, kind: RecordType) -> Option<Answer> {
    let message = Message::from_vec(bytes).ok()?;
    let answers_us = message.metadata.id == id
        && message.metadata.message_type == hickory_proto::op::MessageType::Response
        && message.queries.iter().all(|query| query.query_type() == kind && query.name() == name);
    if !answers_us {
        return None;
    }
    Some(match message.metadata.response_code {
        ResponseCode::NoError => Answer::Addresses(message.answers.iter().filter_map(|it| address(&it.data)).collect()),
        ResponseCode::NXDomain => Answer::NoSuchName,
        _ => Answer::Nothing,
    })
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

/// The addresses that the file gives `host`.
async fn hosts(path: &Path, host: &str) -> Vec<IpAddr> {
    let mut text = String::new();
    let Ok(file) = tokio::fs::File::open(path).await else { return Vec::new() };
    if file.take(LARGEST_HOSTS).read_to_string(&mut text).await.is_err() {
        tracing::debug!("cannot read the hosts file");
        return Vec::new();
    }
    text.lines().filter_map(|line| hosts_line(line, host)).collect()
}

fn hosts_line(line: &str, host: &str) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_whitespace();
    let ip = words.next()?.parse().ok()?;
    words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
}
