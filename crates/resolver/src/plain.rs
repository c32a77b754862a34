//! Queries resolvers in plain, over UDP or TCP (RFC 1035 4.2, RFC 7766). Retransmission is the client's task.

use std::net::SocketAddr;

use dns::{Response, Via};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    error::ForwardError,
    query::{Answered, Query, framed, id_of},
    sockets::Sockets,
    transport::Transport,
};

/// Maximum size of a datagram in bytes. Memory is used only for received bytes.
const MAX_DATAGRAM: usize = 65_535;

/// Sends the query unchanged.
pub(super) async fn ask(
    sockets: Sockets,
    query: Query<'_>,
    server: SocketAddr,
    via: Via,
    transport: Transport,
) -> Result<Answered, ForwardError> {
    match transport {
        Transport::Udp => udp(sockets, query, server, via).await,
        Transport::Tcp => tcp(sockets, query, server, via).await,
    }
}

async fn udp(sockets: Sockets, query: Query<'_>, server: SocketAddr, via: Via) -> Result<Answered, ForwardError> {
    let socket = sockets.udp(server, via)?;
    socket.send(query.bytes).await?;
    let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
    loop {
        datagram.clear();
        socket.recv_buf(&mut datagram).await?;
        // An attacker may guess our port; a wrong response does not end the wait for the right one.
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

async fn tcp(sockets: Sockets, query: Query<'_>, server: SocketAddr, via: Via) -> Result<Answered, ForwardError> {
    let framed = framed(query.bytes)?;
    let mut stream = sockets.tcp(server, via).await?;
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    query.parse_response(answer)
}

fn has_id_of(message: &[u8], other: &[u8]) -> bool {
    message.len() >= 2 && id_of(message) == id_of(other)
}
