//! Resolution of the portal's name.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ::portal::DialError;
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use tls::Roots;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use super::{
    super::resolve::{Resolver, resolve},
    portal_double::{Hosts, skip},
};

/// The behaviour of a DNS server for tests.
#[derive(Clone, Copy)]
enum Behaviour {
    Says(&'static [&'static str]),
    NoSuchName,
    Fails,
    Silent,
}

/// A DNS server with its behaviour over UDP and TCP.
struct Server {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    async fn new(udp: Behaviour, tcp: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let by_udp = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                // A forged answer.
                let mut forged = answer(&buffer[..length], Behaviour::Says(&["192.0.2.66", "2001:db8::66"])).unwrap();
                forged[0] ^= 1;
                socket.send_to(&forged, from).await.unwrap();
                match answer(&buffer[..length], udp) {
                    Some(answer) => {
                        socket.send_to(&answer, from).await.unwrap();
                    }
                    None => skip_timeouts().await,
                }
            }
        });
        let by_tcp = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.unwrap();
                if let Some(answer) = answer(&question, tcp) {
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self { address, tasks: vec![by_udp, by_tcp] }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Advances the clock by two seconds after all answers have arrived.
async fn skip_timeouts() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    skip(Duration::from_secs(2)).await;
}

fn answer(question: &[u8], behaviour: Behaviour) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    let query = message.queries[0].clone();
    assert_eq!(query.name().to_string(), "portal.test.");
    message.metadata.message_type = MessageType::Response;
    match behaviour {
        Behaviour::Says(addresses) => {
            for address in addresses {
                let data = match (address.parse().unwrap(), query.query_type()) {
                    (IpAddr::V4(ip), RecordType::A) => RData::A(rdata::A(ip)),
                    (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(rdata::AAAA(ip)),
                    _ => continue,
                };
                message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
        }
        Behaviour::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
        Behaviour::Fails => message.metadata.response_code = ResponseCode::ServFail,
        Behaviour::Silent => return None,
    }
    Some(message.to_vec().unwrap())
}

fn plain(address: SocketAddr) -> model::Resolver {
    model::Resolver { address, ..model::Resolver::plain(address.ip()) }
}

async fn look_up(servers: &[&Server], hosts: &str, host: &str) -> Result<Vec<String>, DialError> {
    let hosts = Hosts::new(hosts);
    let servers: Vec<_> = servers.iter().map(|server| plain(server.address)).collect();
    let mut found = Vec::new();
    let resolver = Resolver { servers: &servers, hosts: &hosts.0, mark: 0, roots: &Roots::System };
    resolve(&resolver, host, &mut |ip: IpAddr| found.push(ip.to_string())).await?;
    found.sort();
    Ok(found)
}

fn ok(addresses: &[&str]) -> Result<Vec<String>, DialError> {
    Ok(addresses.iter().map(|&it| it.to_owned()).collect())
}

#[tokio::test]
async fn answers_of_all_dns_servers_are_merged() {
    let one = Server::new(Behaviour::Says(&["192.0.2.1", "2001:db8::1"]), Behaviour::Silent).await;
    let two = Server::new(Behaviour::Says(&["192.0.2.1", "192.0.2.2"]), Behaviour::Silent).await;
    assert_eq!(look_up(&[&one, &two], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
}

#[tokio::test]
async fn failing_or_silent_dns_server_does_not_affect_the_others() {
    let good = Server::new(Behaviour::Says(&["192.0.2.1"]), Behaviour::Silent).await;
    for behaviour in [Behaviour::Silent, Behaviour::Fails, Behaviour::NoSuchName] {
        let bad = Server::new(behaviour, Behaviour::Silent).await;
        assert_eq!(look_up(&[&bad, &good], "", "portal.test").await, ok(&["192.0.2.1"]));
    }
}

#[tokio::test]
async fn answer_is_used_before_an_unresponsive_dns_server_times_out() {
    let dead = Server::new(Behaviour::Silent, Behaviour::Silent).await;
    let good = Server::new(Behaviour::Says(&["192.0.2.1"]), Behaviour::Silent).await;
    let hosts = Hosts::new("");
    let servers = [plain(dead.address), plain(good.address)];
    let resolver = Resolver { servers: &servers, hosts: &hosts.0, mark: 0, roots: &Roots::System };
    let (sender, mut reported) = tokio::sync::mpsc::unbounded_channel();
    let mut report = move |ip: IpAddr| sender.send(ip).unwrap();
    tokio::select! {
        biased;
        ip = reported.recv() => assert_eq!(ip.unwrap().to_string(), "192.0.2.1"),
        _ = resolve(&resolver, "portal.test", &mut report) => panic!("waited for the unresponsive server"),
    }
}

#[tokio::test]
async fn tcp_is_tried_if_udp_yields_no_address() {
    for behaviour in [Behaviour::Silent, Behaviour::Fails, Behaviour::Says(&[])] {
        let server = Server::new(behaviour, Behaviour::Says(&["192.0.2.1", "2001:db8::1"])).await;
        assert_eq!(look_up(&[&server], "", "portal.test").await, ok(&["192.0.2.1", "2001:db8::1"]));
    }
}

#[tokio::test]
async fn tcp_is_not_tried_if_all_answers_are_nxdomain() {
    let server = Server::new(Behaviour::NoSuchName, Behaviour::Says(&["192.0.2.1"])).await;
    assert_eq!(look_up(&[&server], "", "portal.test").await, Err(DialError::NameNotResolved));
    let other = Server::new(Behaviour::Silent, Behaviour::Says(&["192.0.2.2"])).await;
    assert_eq!(look_up(&[&server, &other], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.2"]));
    let empty = Server::new(Behaviour::Says(&[]), Behaviour::Says(&["192.0.2.3"])).await;
    assert_eq!(look_up(&[&server, &empty], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.3"]));
}

#[tokio::test]
async fn hosts_file_is_used() {
    let hosts = "# portal.test\n127.0.0.1 localhost\n192.0.2.7\tother Portal.Test # mine\n2001:db8::7 portal.test\nx portal.test\n192.0.2.8\n";
    assert_eq!(look_up(&[], hosts, "portal.test").await, ok(&["192.0.2.7", "2001:db8::7"]));
    let server = Server::new(Behaviour::Says(&["192.0.2.1"]), Behaviour::Silent).await;
    assert_eq!(look_up(&[&server], hosts, "portal.test").await, ok(&["192.0.2.1", "192.0.2.7", "2001:db8::7"]));
    assert_eq!(look_up(&[], "192.0.2.7 portal.test.example\n", "portal.test").await, Err(DialError::NameNotResolved));
}

#[tokio::test]
async fn literal_address_needs_no_dns_server() {
    assert_eq!(look_up(&[], "", "192.0.2.9").await, ok(&["192.0.2.9"]));
    assert_eq!(look_up(&[], "", "2001:db8::9").await, ok(&["2001:db8::9"]));
    assert_eq!(look_up(&[], "", "portal.test").await, Err(DialError::NameNotResolved));
}
