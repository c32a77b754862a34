//! From names to addresses.

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

/// How a resolver for tests behaves.
#[derive(Clone, Copy)]
enum Manner {
    Says(&'static [&'static str]),
    NoSuchName,
    Fails,
    Silent,
}

/// A resolver with its manners over UDP and TCP.
struct Server {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    async fn new(udp: Manner, tcp: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let by_udp = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                // Somebody guesses.
                let mut forged = answer(&buffer[..length], Manner::Says(&["192.0.2.66", "2001:db8::66"])).unwrap();
                forged[0] ^= 1;
                socket.send_to(&forged, from).await.unwrap();
                match answer(&buffer[..length], udp) {
                    Some(answer) => {
                        socket.send_to(&answer, from).await.unwrap();
                    }
                    None => impatience().await,
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

/// Two seconds of silence pass at once, when everybody who wants to has answered.
async fn impatience() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    skip(Duration::from_secs(2)).await;
}

fn answer(question: &[u8], manner: Manner) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    let query = message.queries[0].clone();
    assert_eq!(query.name().to_string(), "portal.test.");
    message.metadata.message_type = MessageType::Response;
    match manner {
        Manner::Says(addresses) => {
            for address in addresses {
                let data = match (address.parse().unwrap(), query.query_type()) {
                    (IpAddr::V4(ip), RecordType::A) => RData::A(rdata::A(ip)),
                    (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(rdata::AAAA(ip)),
                    _ => continue,
                };
                message.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
        }
        Manner::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
        Manner::Fails => message.metadata.response_code = ResponseCode::ServFail,
        Manner::Silent => return None,
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
async fn the_answers_of_all_resolvers_are_merged() {
    let one = Server::new(Manner::Says(&["192.0.2.1", "2001:db8::1"]), Manner::Silent).await;
    let two = Server::new(Manner::Says(&["192.0.2.1", "192.0.2.2"]), Manner::Silent).await;
    assert_eq!(look_up(&[&one, &two], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
}

#[tokio::test]
async fn one_that_fails_or_is_silent_does_not_spoil_the_others() {
    let good = Server::new(Manner::Says(&["192.0.2.1"]), Manner::Silent).await;
    for manner in [Manner::Silent, Manner::Fails, Manner::NoSuchName] {
        let bad = Server::new(manner, Manner::Silent).await;
        assert_eq!(look_up(&[&bad, &good], "", "portal.test").await, ok(&["192.0.2.1"]));
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_resolver_that_is_dead() {
    let dead = Server::new(Manner::Silent, Manner::Silent).await;
    let good = Server::new(Manner::Says(&["192.0.2.1"]), Manner::Silent).await;
    let hosts = Hosts::new("");
    let servers = [plain(dead.address), plain(good.address)];
    let resolver = Resolver { servers: &servers, hosts: &hosts.0, mark: 0, roots: &Roots::System };
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let mut tell = move |ip: IpAddr| told.send(ip).unwrap();
    tokio::select! {
        biased;
        ip = news.recv() => assert_eq!(ip.unwrap().to_string(), "192.0.2.1"),
        _ = resolve(&resolver, "portal.test", &mut tell) => panic!("it waited for the dead one"),
    }
}

#[tokio::test]
async fn when_udp_brings_nothing_tcp_is_tried() {
    for manner in [Manner::Silent, Manner::Fails, Manner::Says(&[])] {
        let server = Server::new(manner, Manner::Says(&["192.0.2.1", "2001:db8::1"])).await;
        assert_eq!(look_up(&[&server], "", "portal.test").await, ok(&["192.0.2.1", "2001:db8::1"]));
    }
}

#[tokio::test]
async fn when_all_agree_that_there_is_no_such_name_tcp_is_not_tried() {
    let server = Server::new(Manner::NoSuchName, Manner::Says(&["192.0.2.1"])).await;
    assert_eq!(look_up(&[&server], "", "portal.test").await, Err(DialError::NameNotResolved));
    let other = Server::new(Manner::Silent, Manner::Says(&["192.0.2.2"])).await;
    assert_eq!(look_up(&[&server, &other], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.2"]));
    let empty = Server::new(Manner::Says(&[]), Manner::Says(&["192.0.2.3"])).await;
    assert_eq!(look_up(&[&server, &empty], "", "portal.test").await, ok(&["192.0.2.1", "192.0.2.3"]));
}

#[tokio::test]
async fn the_hosts_file_counts_too() {
    let hosts = "# portal.test\n127.0.0.1 localhost\n192.0.2.7\tother Portal.Test # mine\n2001:db8::7 portal.test\nx portal.test\n192.0.2.8\n";
    assert_eq!(look_up(&[], hosts, "portal.test").await, ok(&["192.0.2.7", "2001:db8::7"]));
    let server = Server::new(Manner::Says(&["192.0.2.1"]), Manner::Silent).await;
    assert_eq!(look_up(&[&server], hosts, "portal.test").await, ok(&["192.0.2.1", "192.0.2.7", "2001:db8::7"]));
    assert_eq!(look_up(&[], "192.0.2.7 portal.test.example\n", "portal.test").await, Err(DialError::NameNotResolved));
}

#[tokio::test]
async fn an_address_needs_nobody() {
    assert_eq!(look_up(&[], "", "192.0.2.9").await, ok(&["192.0.2.9"]));
    assert_eq!(look_up(&[], "", "2001:db8::9").await, ok(&["2001:db8::9"]));
    assert_eq!(look_up(&[], "", "portal.test").await, Err(DialError::NameNotResolved));
}
