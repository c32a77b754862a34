//! The HTTP request that opens the WebSocket (RFC 6455 4.1).
//!
//! The WebSocket library is not used for it: the body of a rejection decides whether the token is discarded, and that
//! library returns only the part of the body that arrives together with the headers.

use std::{
    error::Error as _,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{
        CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
        USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use portal::{ConnectionError, DialError, Rejection, Request};
use tokio::{task::JoinSet, time::timeout};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{stream::Stream, websocket::WebSocket};

/// Includes the cookies of captive portals.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Larger than any problem details.
const MAX_BODY_BYTES: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests the upgrade and checks the response.
///
/// # Errors
/// The portal rejected the upgrade, the server is not a portal, or the connection failed.
pub(super) async fn upgrade(stream: Stream, request: &Request) -> Result<WebSocket, ConnectionError> {
    let key = generate_key();
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // Dropping the attempt aborts the task and closes the socket.
    let mut driver = JoinSet::new();
    driver.spawn(connection.with_upgrades());
    let response = sender.send_request(http_request(request, &key)?).await.map_err(|error| failed(&error))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        check_accepted(response.headers(), &key)?;
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| failed(&error))?;
        let parts = upgraded.downcast::<TokioIo<Stream>>().map_err(|_| ConnectionError::SocketFailed)?;
        return Ok(WebSocket::new(parts.io.into_inner(), parts.read_buf.to_vec()).await);
    }
    let (head, body) = response.into_parts();
    let body = read_body(body).await;
    let text = |name| head.headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    Err(ConnectionError::Rejected(Rejection::parse(
        head.status.as_u16(),
        text(CONTENT_TYPE).as_deref(),
        text(RETRY_AFTER).as_deref(),
        &body,
        SystemTime::now(),
    )))
}

/// No `Origin`, because the portal compares it with its own host. No subprotocol and no extensions.
fn http_request(request: &Request, key: &str) -> Result<hyper::Request<Empty<Bytes>>, ConnectionError> {
    let mut builder = hyper::Request::get(&request.url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(HOST, &request.host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .header(USER_AGENT, &request.user_agent);
    if let Some(authorization) = &request.authorization
        && let Ok(mut value) = HeaderValue::from_str(authorization.expose())
    {
        value.set_sensitive(true);
        builder = builder.header(HeaderName::from_static("x-authorization"), value);
    }
    builder.body(Empty::new()).map_err(|error| {
        tracing::error!(%error, "cannot build the request to the portal");
        ConnectionError::SocketFailed
    })
}

fn failed(error: &hyper::Error) -> ConnectionError {
    tracing::debug!(%error, "the upgrade to a WebSocket failed");
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>()).unwrap_or(error);
    if cause.is_parse() { DialError::NotAPortal.into() } else { ConnectionError::SocketFailed }
}

/// Whether the response belongs to the request, and contains no subprotocol and no extension.
fn check_accepted(headers: &HeaderMap, key: &str) -> Result<(), ConnectionError> {
    let contains = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    let is_accepted = contains(UPGRADE, "websocket")
        && contains(CONNECTION, "upgrade")
        && headers
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|it| it.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes())
        && !headers.contains_key(SEC_WEBSOCKET_PROTOCOL)
        && !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS);
    if is_accepted { Ok(()) } else { Err(DialError::NotAPortal.into()) }
}

/// Reads a body in bounded time and size. An incomplete body is not an error.
async fn read_body(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < MAX_BODY_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    };
    let _ = timeout(BODY_TIMEOUT, read).await;
    bytes.truncate(MAX_BODY_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let lines = text.split("\r\n").filter_map(|line| line.split_once(": "));
        lines
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn response_that_does_not_match_the_request_is_not_a_portal() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let check = |text: &str| check_accepted(&headers(text), key);
        assert_eq!(check(good), Ok(()));
        for (from, to) in [
            ("WebSocket\r", "h2c\r"),
            ("keep-alive, Upgrade", "close"),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAA"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ] {
            assert_eq!(check(&good.replace(from, to)), Err(ConnectionError::Dial(DialError::NotAPortal)), "{to}");
        }
    }
}
