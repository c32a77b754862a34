//! Queries in datagrams.

use std::{io, net::IpAddr, sync::Arc};

use hickory_server::{net::xfer::Protocol, server::Request};
use tokio::{net::UdpSocket, task::JoinSet};

use super::exchange::Exchange;

/// The largest query that is read; real ones fit into 512 bytes.
const MAX_QUERY: usize = 4096;

/// Answers on `socket` until it breaks.
pub(super) async fn serve(socket: UdpSocket, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let socket = Arc::new(socket);
    let mut queries = JoinSet::new();
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let (length, asker) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // An asker that is gone by the time of its reply is no reason to stop.
                Err(error) if is_of_one_asker(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "a DNS listener broke");
                    return;
                }
            },
            Some(_) = queries.join_next(), if !queries.is_empty() => continue,
        };
        // What cannot be parsed gets no reply.
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        let Ok(request) = Request::from_bytes(bytes, asker, Protocol::Udp) else { continue };
        let (socket, exchange) = (Arc::clone(&socket), Arc::clone(&exchange));
        queries.spawn(async move {
            if let Some(reply) = exchange.reply(&request, sentinel).await
                && let Err(error) = socket.send_to(&reply, asker).await
            {
                tracing::debug!(%error, "a DNS reply was lost");
            }
        });
    }
}

fn is_of_one_asker(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted)
}
