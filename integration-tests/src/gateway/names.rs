//! Names: look-ups for DNS resources, and forwarding of other queries.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

/// Port of the name service on our addresses in the tunnel.
const PORT: u16 = 53535;
/// Port of the real name server.
const DNS: u16 = 53;
/// How long a look-up for a DNS resource may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the real name server may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(5);
/// A longer response does not fit into one datagram in the tunnel.
const MAX_UDP_PAYLOAD: usize = 1200;

/// All addresses of a name by the system's own rules; none if there is no such name. `None` if it takes too long.
pub(super) async fn look_up(name: &str) -> Option<Vec<IpAddr>> {
    let addresses = match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(addresses)) => addresses.map(|it| it.ip()).collect::<BTreeSet<_>>(),
        Ok(Err(_)) => BTreeSet::new(),
        Err(_) => return None,
    };
    Some(addresses.into_iter().collect())
}

/// Forwards queries to the name server of this host until it is dropped.
#[derive(Debug)]
pub(super) struct Service {
    _tasks: JoinSet<io::Result<()>>,
}

impl Service {
    /// Listens on each of `addresses`.
    pub(super) async fn start(addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let resolver = SocketAddr::new(name_server()?, DNS);

        let mut tasks = JoinSet::new();
        for address in addresses {
            let udp = UdpSocket::bind((*address, PORT)).await?;
            let tcp = TcpListener::bind((*address, PORT)).await?;
            tasks.spawn(serve_udp(Arc::new(udp), resolver));
            tasks.spawn(serve_tcp(tcp, resolver));
        }
        Ok(Self { _tasks: tasks })
    }
}

/// The first name server that the system is configured to use.
fn name_server() -> anyhow::Result<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").context("cannot read /etc/resolv.conf")?;
    text.lines()
        .find_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .context("/etc/resolv.conf names no name server")
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: SocketAddr) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let (query, socket) = (buffer[..length].to_vec(), socket.clone());
        tokio::spawn(async move {
            let answer = match timeout(FORWARD_TIMEOUT, ask_udp(&query, resolver)).await {
                Ok(Ok(answer)) if answer.len() > MAX_UDP_PAYLOAD => truncated(&answer),
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(_)) | Err(_) => failure(&query),
            };
            if let Some(answer) = answer
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%error, "an answer is lost");
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, resolver: SocketAddr) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // One query at a time; the client may keep the connection for the next.
            while let Ok(query) = read_message(&mut stream).await {
                let answer = match timeout(FORWARD_TIMEOUT, ask_tcp(&query, resolver)).await {
                    Ok(Ok(answer)) => Some(answer),
                    Ok(Err(_)) | Err(_) => failure(&query),
                };
                let Some(answer) = answer else { return };
                if write_message(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask_udp(query: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer).await?;
    buffer.truncate(length);
    Ok(buffer)
}

async fn ask_tcp(query: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, query).await?;
    read_message(&mut stream).await
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).await
}

/// SERVFAIL for a query: its header and question, nothing else (RFC 1035, 4.1).
fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let mut answer = header_and_question(query)?;
    answer[2] |= 0x80;
    answer[3] = (answer[3] & 0xf0) | 2;
    Some(answer)
}

/// An answer that says that it would have been longer.
fn truncated(answer: &[u8]) -> Option<Vec<u8>> {
    let mut short = header_and_question(answer)?;
    short[2] |= 0x02;
    Some(short)
}

/// The beginning of a message with one question, with the counts of the other sections set to zero.
fn header_and_question(message: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const TYPE_AND_CLASS: usize = 4;

    let mut at = HEADER;
    loop {
        let label = usize::from(*message.get(at)?);
        at += 1 + label;
        if label == 0 {
            break;
        }
    }
    let mut start = message.get(..at + TYPE_AND_CLASS)?.to_vec();
    start[6..HEADER].fill(0);
    Some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.` with an additional record, cut short.
    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x10\x00\x01\x00\x00\x29";

    #[test]
    fn failure_response_contains_the_question_only() {
        let answer = failure(QUERY).unwrap();

        assert_eq!(answer, b"\x12\x34\x81\x02\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x10\x00\x01");
    }

    #[test]
    fn truncated_message_is_rejected_at_every_length() {
        for length in 0..QUERY.len() {
            assert!(failure(&QUERY[..length]).is_none_or(|answer| answer.len() <= length));
        }
    }
}
