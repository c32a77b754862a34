//! Asking a resolver openly, over UDP or TCP (RFC 1035 4.2, RFC 7766). There are no repetitions: that is the asker's
//! business.

use std::net::SocketAddr;

use dns::{Response, Via};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Transport,
    forward::{Answered, NoAnswer, Query},
    sockets::Sockets,
};

/// The largest datagram there is. Memory is used only for what really comes.
const MAX_DATAGRAM: usize = 65_535;

/// Sends the query as it came, over the same transport.
pub(super) async fn ask(
    sockets: Sockets,
    query: Query<'_>,
    server: SocketAddr,
    via: Via,
    transport: Transport,
) -> Result<Answered, NoAnswer> {
    match transport {
        Transport::Udp => udp(sockets, query, server, via).await,
        Transport::Tcp => tcp(sockets, query, server, via).await,
    }
}

async fn udp(sockets: Sockets, query: Query<'_>, server: SocketAddr, via: Via) -> Result<Answered, NoAnswer> {
    let socket = sockets.udp(server, via)?;
    socket.send(query.bytes).await?;
    let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
    loop {
        datagram.clear();
        socket.recv_buf(&mut datagram).await?;
        // Anybody can guess our port; a wrong answer does not keep us from waiting for the right one.
        if !has_id_of(&datagram, query.bytes) {
            continue;
        }
        let response = Response::parse(&datagram)?;
        if response.answers(id_of(query.bytes), query.question) {
            datagram.shrink_to_fit();
            return Ok((datagram, response));
        }
    }
}

async fn tcp(sockets: Sockets, query: Query<'_>, server: SocketAddr, via: Via) -> Result<Answered, NoAnswer> {
    let framed = framed(query.bytes)?;
    let mut stream = sockets.tcp(server, via).await?;
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    query.answered(answer)
}

/// A message as it is written on a stream (RFC 1035 4.2.2).
pub(super) fn framed(message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let length = u16::try_from(message.len()).map_err(|_| NoAnswer::TooLong)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// The first two bytes of each message (RFC 1035 4.1.1).
pub(super) fn id_of(message: &[u8]) -> u16 {
    message.first_chunk().copied().map_or(0, u16::from_be_bytes)
}

/// The same message with another id.
pub(super) fn with_id(mut message: Vec<u8>, id: u16) -> Vec<u8> {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
    message
}

fn has_id_of(message: &[u8], other: &[u8]) -> bool {
    message.len() >= 2 && id_of(message) == id_of(other)
}
