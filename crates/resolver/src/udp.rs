//! Queries over UDP.

use std::{io, net::IpAddr, sync::Arc};

use hickory_server::{net::xfer::Protocol, server::Request};
use tokio::{net::UdpSocket, task::JoinSet};

use super::exchange::Exchange;

/// Maximum length of a query in bytes; usual ones fit into 512.
const MAX_QUERY: usize = 4096;

/// Answers on `socket` until it fails.
pub(super) async fn serve(socket: UdpSocket, sentinel: IpAddr, exchange: Arc<Exchange>) {
    let socket = Arc::new(socket);
    let mut queries = JoinSet::new();
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let (length, client) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // An error of a reply to one client does not affect the others.
                Err(error) if concerns_one_client(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "a DNS listener failed");
                    return;
                }
            },
            Some(_) = queries.join_next(), if !queries.is_empty() => continue,
        };
        // An invalid query gets no reply.
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        let Ok(request) = Request::from_bytes(bytes, client, Protocol::Udp) else { continue };
        let (socket, exchange) = (Arc::clone(&socket), Arc::clone(&exchange));
        queries.spawn(async move {
            if let Some(reply) = exchange.reply(&request, sentinel).await
                && let Err(error) = socket.send_to(&reply, client).await
            {
                tracing::debug!(%error, "cannot send a DNS reply");
            }
        });
    }
}

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable | Interrupted)
}
