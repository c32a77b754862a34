//! Asking a resolver over HTTPS (RFC 8484): one connection for each URL, HTTP/2 or HTTP/1.1 as the server likes.
//!
//! The server's address is asked of the host's own resolvers, and its connection goes past the tunnel: nothing here comes
//! back to us.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dns::Via;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::{DohUrl, Resolver};
use rustls::pki_types::ServerName;
use tls::Roots;
use tokio::{net::TcpStream, sync::Mutex as AsyncMutex, task::JoinHandle, time::Instant};
use tokio_rustls::TlsConnector;
use url::Host;

use super::{
    CannotMark,
    forward::{Answered, NoAnswer, Query},
    lookup,
    plain::{id_of, with_id},
    sockets::Sockets,
};

const MEDIA_TYPE: &str = "application/dns-message";
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// No DNS message is longer.
const LONGEST: usize = 65_535;
/// A server has a handful of addresses.
const MOST_ADDRESSES: usize = 8;
/// How long one address of a server may take before the next one is tried.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an HTTP/2 server may be silent while we wait for its answer before we ask whether it is still there, and how
/// long it may take to say so.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// After a failed attempt to connect, queries fail at once for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections with all DoH servers.
#[derive(Debug)]
pub(super) struct Https {
    sockets: Sockets,
    roots: Roots,
    host_resolvers: Mutex<Arc<[Resolver]>>,
    servers: Mutex<BTreeMap<DohUrl, Arc<AsyncMutex<Server>>>>,
}

/// One server.
#[derive(Debug, Default)]
struct Server {
    connection: Option<Connection>,
    not_before: Option<Instant>,
}

/// A connection that was made. Ends when dropped.
#[derive(Debug)]
struct Connection {
    requests: Requests,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug)]
enum Requests {
    Http2(http2::SendRequest<Empty<Bytes>>),
    /// One request at a time.
    Http1(Arc<AsyncMutex<http1::SendRequest<Empty<Bytes>>>>),
}

impl Https {
    pub(super) fn new(sockets: Sockets, roots: Roots) -> Self {
        Self { sockets, roots, host_resolvers: Mutex::new(Arc::new([])), servers: Mutex::default() }
    }

    /// Who knows the addresses of servers. After a change of these nothing is as it was, connections included.
    pub(super) fn set_host_resolvers(&self, resolvers: Vec<Resolver>) {
        let mut known = self.host_resolvers.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *resolvers {
            *known = resolvers.into();
            self.forget();
        }
    }

    /// Ends all connections: those of a network that is gone hang for as long as somebody asks on them.
    pub(super) fn forget(&self) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks. If a connection that was there before ends meanwhile, which servers may do at any time, a new one is made.
    pub(super) async fn ask(&self, query: Query<'_>, url: &DohUrl) -> Result<Answered, NoAnswer> {
        let server =
            Arc::clone(self.servers.lock().unwrap_or_else(PoisonError::into_inner).entry(url.clone()).or_default());
        loop {
            let (requests, is_new) = self.requests(&server, url).await?;
            match exchange(requests, query, url).await {
                Err(NoAnswer::Http(_)) if !is_new => server.lock().await.connection = None,
                outcome => return outcome,
            }
        }
    }

    /// The connection with a server, and whether it was not there before. Only one is made at a time.
    async fn requests(&self, server: &AsyncMutex<Server>, url: &DohUrl) -> Result<(Requests, bool), NoAnswer> {
        let mut server = server.lock().await;
        server.connection.take_if(|connection| connection.task.is_finished());
        if let Some(connection) = &server.connection {
            return Ok((connection.requests.clone(), false));
        }
        if server.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(NoAnswer::Closed);
        }
        // If whoever asks loses patience, the pause begins all the same.
        server.not_before = Some(Instant::now() + PAUSE);
        let connection = self.connect(url).await?;
        server.not_before = None;
        let requests = connection.requests.clone();
        server.connection = Some(connection);
        Ok((requests, true))
    }

    async fn connect(&self, url: &DohUrl) -> Result<Connection, NoAnswer> {
        let url = url.as_url();
        let port = url.port_or_known_default().unwrap_or(443);
        let (name, addresses) = match url.host() {
            Some(Host::Domain(domain)) => (
                ServerName::try_from(domain.to_owned()).map_err(|_| NoAnswer::NoServerName)?,
                self.look_up(domain).await?,
            ),
            Some(Host::Ipv4(ip)) => (ServerName::IpAddress(IpAddr::V4(ip).into()), vec![ip.into()]),
            Some(Host::Ipv6(ip)) => (ServerName::IpAddress(IpAddr::V6(ip).into()), vec![ip.into()]),
            None => return Err(NoAnswer::NoServerName),
        };
        let config = self.roots.client(&[HTTP_2, HTTP_1]).await?;
        let stream = self.tcp(&addresses, port).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        let io = TokioIo::new(stream);
        Ok(if is_http2 {
            let mut client = http2::Builder::new(TokioExecutor::new());
            client.timer(TokioTimer::new()).keep_alive_interval(LOOK_AFTER).keep_alive_timeout(LOOK_AFTER);
            let (requests, connection) = client.handshake(io).await?;
            Connection::new(Requests::Http2(requests), connection)
        } else {
            let (requests, connection) = http1::handshake(io).await?;
            Connection::new(Requests::Http1(Arc::new(AsyncMutex::new(requests))), connection)
        })
    }

    async fn look_up(&self, domain: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        let resolvers = Arc::clone(&self.host_resolvers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Vec::new();
        let mut tell = |ip| {
            if !found.contains(&ip) && found.len() < MOST_ADDRESSES {
                found.push(ip);
            }
        };
        let asked = lookup::look_up(self.sockets, &self.roots, &resolvers, domain, &mut tell).await;
        asked.map_err(|CannotMark| NoAnswer::CannotMark)?;
        if found.is_empty() { Err(NoAnswer::NoAddress) } else { Ok(found) }
    }

    /// Tries one address after the other.
    async fn tcp(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, NoAnswer> {
        let mut last = NoAnswer::NoAddress;
        for ip in addresses {
            let attempt = self.sockets.tcp(SocketAddr::new(*ip, port), Via::Host);
            match tokio::time::timeout(CONNECT, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = NoAnswer::TimedOut,
            }
        }
        Err(last)
    }
}

impl Connection {
    fn new(requests: Requests, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection with a DoH server ended");
            }
        });
        Self { requests, task }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn exchange(requests: Requests, query: Query<'_>, url: &DohUrl) -> Result<Answered, NoAnswer> {
    let response = match requests {
        Requests::Http2(mut requests) => {
            requests.ready().await?;
            requests.send_request(request(query, url, Form::Absolute)?).await?
        }
        Requests::Http1(requests) => {
            let mut requests = requests.lock().await;
            requests.ready().await?;
            let response = requests.send_request(request(query, url, Form::Origin)?).await?;
            // The next request can go only when this answer has come whole.
            return read(response, query).await;
        }
    };
    read(response, query).await
}

/// How the target of a request is written: HTTP/2 takes scheme and host from it, HTTP/1.1 has them elsewhere (RFC 9112 3.2).
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Absolute,
    Origin,
}

/// The id is 0, so that caches on the way see the same question as the same request (RFC 8484 4.1).
fn request(query: Query<'_>, url: &DohUrl, form: Form) -> Result<Request<Empty<Bytes>>, NoAnswer> {
    let mut target = url.as_url().clone();
    let message = URL_SAFE_NO_PAD.encode(with_id(query.bytes.to_vec(), 0));
    target.set_query(Some(&format!("dns={message}")));
    target.set_fragment(None);
    let builder = Request::get(match form {
        Form::Absolute => target.as_str(),
        Form::Origin => &target[url::Position::BeforePath..],
    });
    let builder = match form {
        Form::Absolute => builder,
        Form::Origin => builder.header(HOST, authority(url)),
    };
    builder.header(ACCEPT, MEDIA_TYPE).body(Empty::new()).map_err(|_| NoAnswer::NoMessage)
}

fn authority(url: &DohUrl) -> String {
    url.as_url()[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

async fn read(response: Response<Incoming>, query: Query<'_>) -> Result<Answered, NoAnswer> {
    if response.status() != StatusCode::OK {
        return Err(NoAnswer::Status(response.status().as_u16()));
    }
    if response.headers().get(CONTENT_TYPE) != Some(&HeaderValue::from_static(MEDIA_TYPE)) {
        return Err(NoAnswer::NoMessage);
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|_| NoAnswer::NoMessage)?;
    query.answered(with_id(body.to_bytes().to_vec(), id_of(query.bytes)))
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{self, Message, MessageType, OpCode},
        rr::{Name, RecordType},
    };

    use super::*;

    #[test]
    fn doh_request_matches_rfc_8484() {
        let question = op::Query::query(Name::from_ascii("www.example.com.").expect("a name"), RecordType::A);
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(question.clone());
        let bytes = message.to_vec().expect("a message");
        let query = Query { bytes: &bytes, question: &question };
        let url = DohUrl::new("https://dns.example.net:8443/dns-query".parse().expect("a URL")).expect("one of DoH");

        // RFC 8484 4.1.1
        let path = "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
        for (form, target) in
            [(Form::Absolute, format!("https://dns.example.net:8443{path}")), (Form::Origin, path.into())]
        {
            let request = request(query, &url, form).expect("a request");
            assert_eq!(request.method(), "GET");
            assert_eq!(request.uri().to_string(), target);
            assert_eq!(request.headers()[ACCEPT], "application/dns-message");
            let host = (form == Form::Origin).then(|| HeaderValue::from_static("dns.example.net:8443"));
            assert_eq!(request.headers().get(HOST), host.as_ref());
        }
    }
}
