//! Queries on streams (RFC 7766): many on one connection, answered in any order.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use hickory_proto::op::SerialMessage;
use hickory_server::{
    net::{DnsStreamHandle, runtime::iocompat::AsyncIoTokioAsStd, tcp::TcpStream, xfer::Protocol},
    server::Request,
};
use tokio::{
    net::{self, TcpListener},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::exchange::Exchange;

/// How many connections a sentinel has at a time. More wait to be accepted.
const CONNECTIONS: usize = 128;
/// How many queries of one connection are worked on at a time. More wait to be read.
const PIPELINED: usize = 64;
/// How long a connection may be without work.
const IDLE: Duration = Duration::from_secs(20);
/// How long the last replies may take to leave after the asker has closed its side.
const FLUSH: Duration = Duration::from_secs(5);
/// How long to wait when the process has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Answers on the connections that `listener` accepts.
pub(super) async fn serve(listener: TcpListener, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, asker)) => {
                    connections.spawn(converse(stream, asker, sentinel, Arc::clone(&exchange)));
                }
                Err(error) => {
                    tracing::debug!(%error, "a DNS connection was not accepted");
                    sleep(EXHAUSTED).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// One connection, until it is closed, idle, or says something that is no query.
async fn converse(stream: net::TcpStream, asker: SocketAddr, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let io = AsyncIoTokioAsStd(stream);
    let (mut stream, replies) = TcpStream::from_stream_with_buffer_size(io, asker, PIPELINED);
    let mut queries = JoinSet::new();
    loop {
        // Polling the stream also writes the replies.
        let message = tokio::select! {
            message = stream.next(), if queries.len() < PIPELINED => message,
            Some(_) = queries.join_next(), if !queries.is_empty() => continue,
            () = sleep(IDLE), if queries.is_empty() => return,
        };
        let bytes = match message {
            Some(Ok(message)) => message.into_parts().0,
            Some(Err(_)) => return,
            None => break,
        };
        let Ok(request) = Request::from_bytes(bytes, asker, Protocol::Tcp) else { return };
        let (exchange, mut replies) = (Arc::clone(&exchange), replies.clone());
        queries.spawn(async move {
            if let Some(reply) = exchange.reply(&request, sentinel).await {
                let _ = replies.send(SerialMessage::new(reply, asker));
            }
        });
    }
    // The asker has sent everything; it may still listen.
    while queries.join_next().await.is_some() {}
    let _ = timeout(FLUSH, stream.next()).await;
}
