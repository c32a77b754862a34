//! Queries over TCP (RFC 7766): pipelined, answered in any order.

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

/// Connections of a sentinel. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// Concurrent queries of one connection. Further ones wait to be read.
const MAX_PIPELINED_QUERIES: usize = 64;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit for the last replies after the client has closed its side.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay after a failed accept, for instance if the process has no descriptors left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Answers on the connections that `listener` accepts.
pub(super) async fn serve(listener: TcpListener, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(serve_connection(stream, client, sentinel, Arc::clone(&exchange)));
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a DNS connection");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves one connection, until it is closed, idle, or carries something other than a query.
async fn serve_connection(stream: net::TcpStream, client: SocketAddr, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let io = AsyncIoTokioAsStd(stream);
    let (mut stream, replies) = TcpStream::from_stream_with_buffer_size(io, client, MAX_PIPELINED_QUERIES);
    let mut queries = JoinSet::new();
    loop {
        // Polling the stream also sends the replies.
        let message = tokio::select! {
            message = stream.next(), if queries.len() < MAX_PIPELINED_QUERIES => message,
            Some(_) = queries.join_next(), if !queries.is_empty() => continue,
            () = sleep(IDLE_TIMEOUT), if queries.is_empty() => return,
        };
        let bytes = match message {
            Some(Ok(message)) => message.into_parts().0,
            Some(Err(_)) => return,
            None => break,
        };
        let Ok(request) = Request::from_bytes(bytes, client, Protocol::Tcp) else { return };
        let (exchange, mut replies) = (Arc::clone(&exchange), replies.clone());
        queries.spawn(async move {
            if let Some(reply) = exchange.reply(&request, sentinel).await {
                let _ = replies.send(SerialMessage::new(reply, client));
            }
        });
    }
    // The client has closed its side; it may still receive.
    while queries.join_next().await.is_some() {}
    let _ = timeout(FLUSH_TIMEOUT, stream.next()).await;
}
