//! The portal of a daemon that does not run: whether it answers where that daemon would look for it.
//!
//! * `said` – where that is, as far as the caller may read it

mod said;

use std::{io, sync::Arc, time::Duration};

use ::portal::ApiUrl;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tls::{CertificateProblem, Roots};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

pub(crate) use said::Said;

/// How long each of these may take: finding addresses, connecting to one of them, agreeing on encryption.
const STEP: Duration = Duration::from_secs(4);

/// What came of knocking at the portal's door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Knock {
    /// Where it is said to be, as `portal.example:443`.
    pub whom: String,
    /// Who says so; empty if nobody does.
    pub by: String,
    /// Files that may say otherwise, and are not for the caller.
    pub unread: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// How a knock ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It answers; whether encrypted, and then with a certificate that this machine trusts.
    Answers {
        /// Whether that was encrypted.
        is_tls: bool,
    },
    /// What is said makes no sense.
    Senseless(String),
    /// Its name has no address.
    NoName,
    /// Nobody takes the connection.
    Unreachable(io::ErrorKind),
    /// Its certificate is not trusted.
    Distrusted(CertificateProblem),
    /// No certificate is.
    TrustsNobody,
    /// What answers does not speak TLS, or says nothing.
    NoTls,
}

/// Knocks where the portal is said to be, as the daemon would.
pub(crate) async fn knock(said: Said, roots: &Roots) -> Knock {
    let Said { url, by, unread, mistake } = said;
    let url = match (mistake, url.parse::<ApiUrl>()) {
        (Some(mistake), _) => Err(mistake),
        (None, Err(error)) => Err(format!("{by}: is not the address of a portal: {error}")),
        (None, Ok(url)) => Ok(url),
    };
    let (whom, outcome) = match url {
        Ok(url) => (format!("{}:{}", url.host(), url.port()), reach(&url, roots).await.unwrap_or_else(|it| it)),
        Err(mistake) => (String::new(), Outcome::Senseless(mistake)),
    };
    Knock { whom, by, unread, outcome }
}

/// Whatever stands in the way is an outcome, too.
async fn reach(url: &ApiUrl, roots: &Roots) -> Result<Outcome, Outcome> {
    let stream = connect(url).await?;
    if !url.is_tls() {
        return Ok(Outcome::Answers { is_tls: false });
    }
    greet(stream, url.host(), roots).await
}

/// Agrees on encryption with whoever is at the other end.
async fn greet(stream: TcpStream, host: &str, roots: &Roots) -> Result<Outcome, Outcome> {
    let roots = roots.load().await.map_err(|_| Outcome::NoTls)?;
    if roots.is_empty() {
        return Err(Outcome::TrustsNobody);
    }
    let config = Roots::Fixed(roots).client(&[]).await.map_err(|_| Outcome::NoTls)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Outcome::NoTls)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout(STEP, handshake).await {
        Ok(Ok(_)) => Ok(Outcome::Answers { is_tls: true }),
        Ok(Err(error)) => Err(CertificateProblem::of(&error).map_or(Outcome::NoTls, Outcome::Distrusted)),
        Err(_) => Err(Outcome::NoTls),
    }
}

/// A connection to the address that answers first.
async fn connect(url: &ApiUrl) -> Result<TcpStream, Outcome> {
    let found = timeout(STEP, lookup_host((url.host(), url.port()))).await;
    let mut attempts: FuturesUnordered<_> = match found {
        Ok(Ok(addresses)) => addresses.map(|it| timeout(STEP, TcpStream::connect(it))).collect(),
        Ok(Err(_)) | Err(_) => return Err(Outcome::NoName),
    };
    let mut why = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = Some(error.kind()),
            Err(_) => why = why.or(Some(io::ErrorKind::TimedOut)),
        }
    }
    Err(why.map_or(Outcome::NoName, Outcome::Unreachable))
}

#[cfg(test)]
mod tests;
