//! Queries resolvers over HTTPS (RFC 8484): one connection for each URL, HTTP/2 or HTTP/1.1 as the server chooses.
//!
//! The server's name is resolved by the host's own resolvers, and the connection bypasses the tunnel, so that no query of it
//! returns to us.

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
    error::{CannotMark, ForwardError},
    lookup,
    query::{Answered, Query, id_of, with_id},
    sockets::Sockets,
};

const MEDIA_TYPE: &str = "application/dns-message";
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// Maximum length of a DNS message in bytes.
const MAX_MESSAGE: usize = 65_535;
/// Number of addresses of a server that are tried.
const MAX_ADDRESSES: usize = 8;
/// Time limit for a connection to one address, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an HTTP/2 server with a pending request may be silent until it gets a ping, and the time limit for the pong.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// After a failed connection attempt, queries fail at once for so long.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The connections to all DoH servers.
#[derive(Debug)]
pub(super) struct DohClient {
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

/// An established connection. Closed when dropped.
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

impl DohClient {
    pub(super) fn new(sockets: Sockets, roots: Roots) -> Self {
        Self { sockets, roots, host_resolvers: Mutex::new(Arc::new([])), servers: Mutex::default() }
    }

    /// Sets the resolvers for the names of servers. A change closes all connections.
    pub(super) fn set_host_resolvers(&self, resolvers: Vec<Resolver>) {
        let mut known = self.host_resolvers.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != *resolvers {
            *known = resolvers.into();
            self.forget();
        }
    }

    /// Closes all connections: those of a former network hang while there are queries on them.
    pub(super) fn forget(&self) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Sends a query. Servers may close an idle connection at any time; if an existing one fails, a new one is made.
    pub(super) async fn ask(&self, query: Query<'_>, url: &DohUrl) -> Result<Answered, ForwardError> {
        let server =
            Arc::clone(self.servers.lock().unwrap_or_else(PoisonError::into_inner).entry(url.clone()).or_default());
        loop {
            let (requests, is_new) = self.requests(&server, url).await?;
            match exchange(requests, query, url).await {
                Err(ForwardError::Http(_)) if !is_new => server.lock().await.connection = None,
                outcome => return outcome,
            }
        }
    }

    /// The connection to a server, and whether it is new. Only one is made at a time.
    async fn requests(&self, server: &AsyncMutex<Server>, url: &DohUrl) -> Result<(Requests, bool), ForwardError> {
        let mut server = server.lock().await;
        server.connection.take_if(|connection| connection.task.is_finished());
        if let Some(connection) = &server.connection {
            return Ok((connection.requests.clone(), false));
        }
        if server.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(ForwardError::Closed);
        }
        // Set before connecting: the delay also applies if the caller gives up.
        server.not_before = Some(Instant::now() + RETRY_DELAY);
        let connection = self.connect(url).await?;
        server.not_before = None;
        let requests = connection.requests.clone();
        server.connection = Some(connection);
        Ok((requests, true))
    }

    async fn connect(&self, url: &DohUrl) -> Result<Connection, ForwardError> {
        let url = url.as_url();
        let port = url.port_or_known_default().unwrap_or(443);
        let (name, addresses) = match url.host() {
            Some(Host::Domain(domain)) => (
                ServerName::try_from(domain.to_owned()).map_err(|_| ForwardError::NoServerName)?,
                self.look_up(domain).await?,
            ),
            Some(Host::Ipv4(ip)) => (ServerName::IpAddress(IpAddr::V4(ip).into()), vec![ip.into()]),
            Some(Host::Ipv6(ip)) => (ServerName::IpAddress(IpAddr::V6(ip).into()), vec![ip.into()]),
            None => return Err(ForwardError::NoServerName),
        };
        let config = self.roots.client(&[HTTP_2, HTTP_1]).await?;
        let stream = self.tcp(&addresses, port).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        let io = TokioIo::new(stream);
        Ok(if is_http2 {
            let mut client = http2::Builder::new(TokioExecutor::new());
            client.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
            let (requests, connection) = client.handshake(io).await?;
            Connection::new(Requests::Http2(requests), connection)
        } else {
            let (requests, connection) = http1::handshake(io).await?;
            Connection::new(Requests::Http1(Arc::new(AsyncMutex::new(requests))), connection)
        })
    }

    async fn look_up(&self, domain: &str) -> Result<Vec<IpAddr>, ForwardError> {
        let resolvers = Arc::clone(&self.host_resolvers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Vec::new();
        let mut on_address = |ip| {
            if !found.contains(&ip) && found.len() < MAX_ADDRESSES {
                found.push(ip);
            }
        };
        let looked_up = lookup::look_up(self.sockets, &self.roots, &resolvers, domain, &mut on_address).await;
        looked_up.map_err(|CannotMark| ForwardError::CannotMark)?;
        if found.is_empty() { Err(ForwardError::NoAddress) } else { Ok(found) }
    }

    /// Tries the addresses one after the other.
    async fn tcp(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, ForwardError> {
        let mut last = ForwardError::NoAddress;
        for ip in addresses {
            let attempt = self.sockets.tcp(SocketAddr::new(*ip, port), Via::Host);
            match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = ForwardError::TimedOut,
            }
        }
        Err(last)
    }
}

impl Connection {
    fn new(requests: Requests, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a DoH server ended");
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

async fn exchange(requests: Requests, query: Query<'_>, url: &DohUrl) -> Result<Answered, ForwardError> {
    let response = match requests {
        Requests::Http2(mut requests) => {
            requests.ready().await?;
            requests.send_request(request(query, url, Form::Absolute)?).await?
        }
        Requests::Http1(requests) => {
            let mut requests = requests.lock().await;
            requests.ready().await?;
            let response = requests.send_request(request(query, url, Form::Origin)?).await?;
            // HTTP/1.1: the next request has to wait for the complete response.
            return read(response, query).await;
        }
    };
    read(response, query).await
}

/// Form of the request target: absolute for HTTP/2, which derives scheme and host from it; origin form for HTTP/1.1 (RFC 9112
/// 3.2).
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Absolute,
    Origin,
}

/// The id is 0, so that HTTP caches recognise equal questions (RFC 8484 4.1).
fn request(query: Query<'_>, url: &DohUrl, form: Form) -> Result<Request<Empty<Bytes>>, ForwardError> {
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
    builder.header(ACCEPT, MEDIA_TYPE).body(Empty::new()).map_err(|_| ForwardError::NotDns)
}

fn authority(url: &DohUrl) -> String {
    url.as_url()[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

async fn read(response: Response<Incoming>, query: Query<'_>) -> Result<Answered, ForwardError> {
    if response.status() != StatusCode::OK {
        return Err(ForwardError::Status(response.status().as_u16()));
    }
    if response.headers().get(CONTENT_TYPE) != Some(&HeaderValue::from_static(MEDIA_TYPE)) {
        return Err(ForwardError::NotDns);
    }
    let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await.map_err(|_| ForwardError::NotDns)?;
    query.parse_response(with_id(body.to_bytes().to_vec(), id_of(query.bytes)))
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
