//! The private web server: a greeting, and downloads of any size.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// The response to `/`.
pub const GREETING: &str = "Hello from the private server.\n";

/// Bytes in a mebibyte.
const MIB: usize = 1 << 20;
/// Chunk of a slow download, in bytes.
const CHUNK: usize = 16 << 10;

/// Serves until the process ends.
pub async fn serve(listen: Vec<SocketAddr>) -> anyhow::Result<()> {
    let pages = Router::new()
        .route("/", get(|| async { GREETING }))
        .route("/whoami", get(|ConnectInfo(from): ConnectInfo<SocketAddr>| async move { format!("{}\n", from.ip()) }))
        .route("/slowly/{mebibytes}", get(|Path(mebibytes): Path<usize>| async move { slowly(mebibytes.min(256)) }))
        .route(
            "/bytes/{mebibytes}",
            get(|Path(mebibytes): Path<usize>| async move { Bytes::from(bytes(mebibytes.min(256))) }),
        );

    let mut tasks = tokio::task::JoinSet::new();
    for address in listen {
        let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let pages = pages.clone().into_make_service_with_connect_info::<SocketAddr>();
        tasks.spawn(async move { axum::serve(listener, pages).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// The same bytes as `/bytes`, one mebibyte per second.
fn slowly(mebibytes: usize) -> Body {
    let chunks = bytes(mebibytes).chunks(CHUNK).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    let paced = stream::iter(chunks).then(|chunk| async move {
        tokio::time::sleep(Duration::from_millis(1_000) * u32::try_from(CHUNK).unwrap_or(1) / (1 << 20)).await;
        Ok::<_, Infallible>(chunk)
    });
    Body::from_stream(paced)
}

/// The hexadecimal SHA-256 of a download of this many mebibytes.
#[must_use]
pub fn checksum(mebibytes: usize) -> String {
    sha256(&bytes(mebibytes))
}

/// Hexadecimal SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes without repeated sections: lost, duplicated or swapped data changes the checksum.
fn bytes(mebibytes: usize) -> Vec<u8> {
    let numbers = (0u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    numbers.flat_map(u64::to_be_bytes).take(mebibytes * MIB).collect()
}
