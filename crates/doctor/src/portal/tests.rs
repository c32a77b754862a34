use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::*;
use crate::unit::Unit;

/// An issuer that has issued nothing here.
const OTHER: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBgjCCASegAwIBAgIUPoQtmRvCFG7wdVKdqulgm5hbwDYwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKb3RoZXIudGVzdDAgFw0yNjExMjYwNDAyNThaGA8yMTI2MTEw
MjA0MDI1OFowFTETMBEGA1UEAwwKb3RoZXIudGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABJ5v5fHhGYqTIUU7W1iwf6RJusaRmAP1AGywSccSL2vA14jfe3Kj
E/W+oLNpP0/4lYqr9nIOloD4IAygGZT8qNqjUzBRMB0GA1UdDgQWBBQbsUQPuM+9
XLToRQJvtQETCQQRljAfBgNVHSMEGDAWgBQbsUQPuM+9XLToRQJvtQETCQQRljAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQD2TjH1gnPgzVe0F4VV
6xYL1y/9lHNd8zd/4h8x6CgoAwIhAMBRjNwZn+4MP3DUIIAPoX8T05sNTRM8f8ax
u/RgJldC
-----END CERTIFICATE-----
";

/// Files of a machine.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn said(&self, unit: Option<&Unit>, own: Option<&str>) -> Said {
        let us = rustix::process::geteuid().as_raw();
        let mut said = Said::read(self.0.path(), us, unit, own.map(str::to_owned));
        let root = self.0.path().display().to_string();
        said.by = said.by.replace(&root, "");
        said
    }
}

#[test]
fn whoever_the_daemon_would_obey_is_obeyed() {
    let files = Files::new();
    let said = |unit: Option<&Unit>, own| {
        let said = files.said(unit, own);
        assert_eq!((said.unread, said.mistake), (vec![], None));
        (said.url, said.by)
    };
    let is = |url: &str, by: &str| (url.to_owned(), by.to_owned());
    assert_eq!(said(None, None), is("wss://api.firezone.dev/", ""));
    let before = "/var/lib/dev.firezone.client/config/advanced_settings.json";
    files.write(&before[1..], "{\"api_url\": \"wss://z.example\"}");
    assert_eq!(said(None, None).1, "", "that client would not have read it");
    files.write(&before[1..], r#"{"api_url": "wss://z.example", "auth_url": "", "log_filter": ""}"#);
    assert_eq!(said(None, None), is("wss://z.example", before));
    let main = "/etc/dev.firezone.client/firezoned.toml";
    files.write(&main[1..], "name = \"x\"\napi-url = \"wss://a.example\"\n");
    assert_eq!(said(None, None), is("wss://a.example", &format!("{main}:2")));
    files.write(&format!("{}.d/10.toml", &main[1..]), "api-url = \"wss://b.example\"\n");
    assert_eq!(said(None, None), is("wss://b.example", &format!("{main}.d/10.toml:1")));
    let mut unit = Unit { environment: vec!["FIREZONE_API_URL=wss://c.example".to_owned()], ..Unit::default() };
    assert_eq!(said(Some(&unit), None), is("wss://c.example", "the unit firezone-client"));
    files.write("etc/default/firezone-client", "#FIREZONE_API_URL=x\nFIREZONE_API_URL=\"wss://d.example\"\n");
    assert_eq!(said(Some(&unit), None), is("wss://d.example", "/etc/default/firezone-client"));
    unit.environment_files = Some(vec!["/etc/default/elsewhere".to_owned()]);
    assert_eq!(said(Some(&unit), None), is("wss://c.example", "the unit firezone-client"));
    for arguments in [&["firezoned", "--api-url=wss://e.example"][..], &["firezoned", "--api-url", "wss://e.example"]] {
        unit.arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(said(Some(&unit), Some("")), is("wss://e.example", "--api-url"));
    }
    assert_eq!(said(Some(&unit), Some("wss://f.example")), is("wss://f.example", "FIREZONE_API_URL"));
    files.write(&format!("{}.d/20.toml", &main[1..]), "api-url = \"\"\n");
    files.write("etc/default/firezone-client", "");
    assert_eq!(said(None, None), is("wss://api.firezone.dev/", ""));
}

#[test]
fn what_keeps_the_daemon_from_starting_is_told_with_its_place() {
    for (text, mistake) in [
        ("api-url = 7\n", "firezoned.toml:1: must be a text in quotation marks"),
        ("a = 1\nb =\n", "firezoned.toml:2: "),
    ] {
        let files = Files::new();
        files.write("etc/dev.firezone.client/firezoned.toml", text);
        let said = files.said(None, None).mistake.unwrap();
        assert!(said.contains(mistake), "{said}");
    }
    let said = Said::read(Path::new("/nonexistent"), 0, None, Some("gopher://x".to_owned()));
    assert!(said.mistake.is_none(), "whether it is an address is seen when it is used");
}

/// A portal that speaks TLS, for the name of the certificate; its address, and who is trusted then.
async fn portal() -> (u16, Roots) {
    let pem = include_bytes!("../../../tls/testdata/certificate.pem");
    let key = include_bytes!("../../../tls/testdata/key.pem");
    let certificate = CertificateDer::from_pem_slice(pem).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server =
        server.with_single_cert(vec![certificate.clone()], PrivateKeyDer::from_pem_slice(key).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    drop(stream.read(&mut [0]).await);
                }
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    (port, Roots::Fixed(Arc::new(roots)))
}

async fn outcome(url: &str, roots: &Roots) -> Outcome {
    let said = Said { url: url.to_owned(), by: "a test".to_owned(), unread: vec![], mistake: None };
    knock(said, roots).await.outcome
}

#[tokio::test]
async fn a_knock_tells_what_is_wrong_with_a_certificate() {
    let (port, trusted) = portal().await;
    // No resolver knows the name of the certificate.
    let greeted = async |roots: &Roots| {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        greet(stream, "portal.test", roots).await.unwrap_or_else(|it| it)
    };
    assert_eq!(greeted(&trusted).await, Outcome::Answers { is_tls: true });
    let mut others = RootCertStore::empty();
    others.add(CertificateDer::from_pem_slice(OTHER).unwrap()).unwrap();
    assert_eq!(greeted(&Roots::Fixed(Arc::new(others))).await, Outcome::Distrusted(CertificateProblem::UnknownIssuer));
    assert_eq!(
        outcome(&format!("wss://127.0.0.1:{port}"), &trusted).await,
        Outcome::Distrusted(CertificateProblem::NameMismatch)
    );
    let nobody = Roots::Fixed(Arc::new(RootCertStore::empty()));
    assert_eq!(outcome(&format!("wss://127.0.0.1:{port}"), &nobody).await, Outcome::TrustsNobody);
    assert_eq!(outcome(&format!("ws://127.0.0.1:{port}"), &nobody).await, Outcome::Answers { is_tls: false });
    assert_eq!(outcome("wss://no-such-name.invalid", &trusted).await, Outcome::NoName);
    assert!(matches!(outcome("gopher://x", &trusted).await, Outcome::Senseless(what) if what.starts_with("a test: ")));
}

#[tokio::test]
async fn a_knock_tells_silence_from_a_closed_door() {
    let (_, trusted) = portal().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    assert_eq!(outcome(&format!("wss://127.0.0.1:{port}"), &trusted).await, Outcome::NoTls);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let refused = Outcome::Unreachable(io::ErrorKind::ConnectionRefused);
    assert_eq!(outcome(&format!("wss://127.0.0.1:{closed}"), &trusted).await, refused);
}
