//! The HTTP request that turns a stream into a WebSocket (RFC 6455 §4.1).
//!
//! By hand because of its failure: a refusal's body decides whether a token is thrown away, and the library gives only as
//! much of it as happened to come along with the headers.

use std::time::{Duration, SystemTime};

use portal::{ConnectionError, DialError, Rejection, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use zeroize::Zeroizing;

use super::{stream::Stream, websocket::WebSocket};

/// Cookies of captive portals included.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// A body beyond this is nobody's problem details.
const MAX_BODY_BYTES: usize = 64 << 10;
/// How long to wait for the rest of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_HEADERS: usize = 64;

/// Asks for the upgrade and judges the answer.
pub(super) async fn upgrade(mut stream: Stream, request: &Request) -> Result<WebSocket, ConnectionError> {
    let key = generate_key();
    stream.write_all(head(request, &key).as_bytes()).await.map_err(|_| ConnectionError::SocketFailed)?;
    stream.flush().await.map_err(|_| ConnectionError::SocketFailed)?;
    let mut buffer = Vec::new();
    let (head, length) = response(&mut stream, &mut buffer).await?;
    let rest = buffer.split_off(length);
    if head.status == 101 {
        head.accepts(&key)?;
        return Ok(WebSocket::new(stream, rest).await);
    }
    let body = body(&mut stream, &head, rest).await;
    Err(ConnectionError::Rejected(head.rejection(&body)))
}

/// No `Origin`: the portal compares it with its own host. No subprotocol and no extensions.
fn head(request: &Request, key: &str) -> Zeroizing<String> {
    let path = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut head = Zeroizing::new(format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nUser-Agent: {}\r\n",
        request.host, request.user_agent
    ));
    if let Some(authorization) = &request.authorization {
        head.push_str("X-Authorization: ");
        head.push_str(authorization.expose());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

/// Reads until a final response's head is complete; returns it and where it ends.
async fn response(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<(Head, usize), ConnectionError> {
    loop {
        match Head::parse(buffer)? {
            // An interim answer, RFC 9110 §15.2.
            Some((head, length)) if head.status < 200 && head.status != 101 => {
                buffer.drain(..length);
            }
            Some(done) => return Ok(done),
            None if buffer.len() >= MAX_HEAD_BYTES => return Err(DialError::NotAPortal.into()),
            None => match stream.read_buf(buffer).await {
                Ok(0) | Err(_) => return Err(ConnectionError::SocketFailed),
                Ok(_) => {}
            },
        }
    }
}

/// Collects what there is of the body, in bounded time and size. Half a body is as good as none, but not a failure.
async fn body(stream: &mut Stream, head: &Head, mut bytes: Vec<u8>) -> Vec<u8> {
    let wanted = head.content_length.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
    let read = async {
        while bytes.len() < wanted && !(head.is_chunked && bytes.ends_with(b"0\r\n\r\n")) {
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    let _ = timeout(BODY_TIMEOUT, read).await;
    if head.is_chunked { unchunked(&bytes) } else { bytes }
}

/// RFC 9112 §7.1, as far as it goes.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(bytes) {
        let Some(chunk) = usize::try_from(length)
            .ok()
            .filter(|&length| length > 0)
            .and_then(|length| bytes.get(start..start.checked_add(length)?))
        else {
            break;
        };
        body.extend_from_slice(chunk);
        let Some(next) = bytes.get(start + chunk.len() + 2..) else { break };
        bytes = next;
    }
    body
}

/// What matters of a response's head.
#[derive(Debug, Default)]
struct Head {
    status: u16,
    upgrade: Option<String>,
    connection: Option<String>,
    accept: Option<String>,
    /// A subprotocol or an extension, which we did not ask for.
    surprise: bool,
    content_type: Option<String>,
    content_length: Option<usize>,
    is_chunked: bool,
    retry_after: Option<String>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ConnectionError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(DialError::NotAPortal.into()),
        };
        let mut head = Self { status: response.code.unwrap_or_default(), ..Self::default() };
        for header in response.headers.iter() {
            let value = String::from_utf8_lossy(header.value).trim().to_owned();
            match header.name.to_ascii_lowercase().as_str() {
                "upgrade" => head.upgrade = Some(value),
                "connection" => head.connection = Some(value),
                "sec-websocket-accept" => head.accept = Some(value),
                "sec-websocket-protocol" | "sec-websocket-extensions" => head.surprise = true,
                "content-type" => head.content_type = Some(value),
                "content-length" => head.content_length = value.parse().ok(),
                "transfer-encoding" => head.is_chunked = value.to_ascii_lowercase().contains("chunked"),
                "retry-after" => head.retry_after = Some(value),
                _ => {}
            }
        }
        Ok(Some((head, length)))
    }

    fn accepts(&self, key: &str) -> Result<(), ConnectionError> {
        let is = |value: &Option<String>, word: &str| {
            value.as_deref().is_some_and(|value| value.split(',').any(|it| it.trim().eq_ignore_ascii_case(word)))
        };
        let right = is(&self.upgrade, "websocket")
            && is(&self.connection, "upgrade")
            && self.accept.as_deref() == Some(derive_accept_key(key.as_bytes()).as_str())
            && !self.surprise;
        if right { Ok(()) } else { Err(DialError::NotAPortal.into()) }
    }

    fn rejection(&self, body: &[u8]) -> Rejection {
        let now = SystemTime::now();
        Rejection::parse(self.status, self.content_type.as_deref(), self.retry_after.as_deref(), body, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_put_together() {
        assert_eq!(unchunked(b"4\r\n{\"co\r\n5;x=y\r\nde\":1\r\n1\r\n}\r\n0\r\n\r\n"), b"{\"code\":1}");
        assert_eq!(unchunked(b"4\r\nabcd\r\n9\r\nhalf"), b"abcd");
        assert_eq!(unchunked(b"ffffffffffffffff\r\nx"), b"");
        assert_eq!(unchunked(b"nonsense"), b"");
    }

    #[test]
    fn response_that_does_not_match_the_request_is_not_a_portal() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let judge = |text: &str| Head::parse(text.as_bytes()).unwrap().unwrap().0.accepts(key);
        assert_eq!(judge(good), Ok(()));
        for (from, to) in [
            ("WebSocket\r", "h2c\r"),
            ("keep-alive, Upgrade", "close"),
            ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAA"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ] {
            assert_eq!(judge(&good.replace(from, to)), Err(ConnectionError::Dial(DialError::NotAPortal)), "{to}");
        }
    }

    #[test]
    fn a_head_cut_anywhere_or_damaged_is_never_fatal() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
        for length in 0..head.len() {
            let _ = Head::parse(&head[..length]);
            for bit in 0..8 {
                let mut damaged = head.to_vec();
                damaged[length] ^= 1 << bit;
                let _ = Head::parse(&damaged);
            }
        }
    }
}
