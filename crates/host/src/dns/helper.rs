//! The helper that writes `/etc/resolv.conf` for a daemon that is not root.
//!
//! It is a separate program, `firezone-resolv-conf`, and not a mode of the daemon: code that runs as root should not contain
//! TLS, D-Bus or WireGuard, not even unused. The service manager starts it for each connection to the socket, which only the
//! daemon's user can open. It reads one request, executes it with the code that a daemon running as root uses itself, replies
//! and exits. It accepts no file names: a request contains only sentinels and a search domain, so an attacker who controls
//! the daemon can direct names to the daemon, and nothing else. The helper's unit allows it to write that one file and the
//! place of its backup, and grants it no network and no capability.
//!
//! During shutdown the service manager starts no new services. Therefore the daemon's unit runs the same program once more
//! when it stops, with the request `revert` in place of a connection.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use super::{
    file::ResolvConf,
    helper_client::{BACKUP, HelperRequest},
    outcome::Outcome,
};

/// Reads one request, executes it on the files of this host, and writes the reply. The whole task of the helper program.
///
/// # Errors
///
/// The lock of the backup's directory cannot be taken, or the reply cannot be written. Errors of the files are part of the
/// reply.
pub fn serve(request: impl Read, mut reply: impl Write) -> io::Result<()> {
    let files = ResolvConf::for_helper();
    // Two helpers at once would take each other's text for the original.
    let lock = Path::new(BACKUP).parent().map(File::open).transpose()?;
    if let Some(lock) = &lock {
        lock.lock()?;
    }
    writeln!(reply, "{}", execute(request, &files))
}

fn execute(request: impl Read, files: &ResolvConf) -> String {
    let request = match HelperRequest::read(request) {
        Ok(request) => request,
        Err(invalid) => return format!("failed {invalid}"),
    };
    let outcome = match request {
        HelperRequest::Configure(dns) => files.configure(&dns),
        HelperRequest::Revert => files.revert(),
    };
    match outcome {
        Ok(Outcome::Unchanged) => "unchanged".to_owned(),
        Ok(Outcome::Written) => "written".to_owned(),
        Ok(Outcome::BackupMissing) => "backup-missing".to_owned(),
        Err(error) if error.is_read_only() => "read-only".to_owned(),
        Err(error) => format!("failed {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr, os::unix::net::UnixListener, path::PathBuf, thread};

    use session::DnsConfig;

    use super::*;
    use crate::dns::outcome::FileError;

    const LAN: &str = "search home.lan\nnameserver 192.168.1.1\n";

    fn desired() -> DnsConfig {
        let servers = ["100.100.111.1", "fd00:2021:1111:8000:100:100:111:0"].map(|it| it.parse().unwrap()).to_vec();
        DnsConfig { servers, port: None, search_domain: Some("corp.example".to_owned()) }
    }

    #[test]
    fn helper_request_is_parsed_back() {
        for request in [HelperRequest::Revert, HelperRequest::Configure(desired())] {
            assert_eq!(HelperRequest::read(request.to_string().as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn helper_accepts_only_sentinels_and_plain_domains() {
        for request in [
            "",
            "revert\nconfigure\n",
            "configure\n",
            "configure\nserver 192.0.2.1\n",
            "configure\nserver 100.100.111.1 # 192.0.2.1\n",
            "configure\nserver 100.100.111.1\nsearch a b\n",
            "configure\nserver 100.100.111.1\nsearch a\rnameserver\n",
            "configure\nserver 100.100.111.1\nsearch a\nsearch b\n",
            "configure\nserver 100.100.111.1\nbackup /etc/shadow\n",
            "write /etc/passwd\n",
        ] {
            assert!(HelperRequest::read(request.as_bytes()).is_err(), "{request:?}");
        }
        assert!(HelperRequest::read(&b"revert\xff"[..]).is_err());
        assert!(HelperRequest::read(io::repeat(b'r')).is_err());
        let longest = format!("configure\nserver 100.100.111.1\nsearch {}\n", "x".repeat(254));
        assert!(HelperRequest::read(longest.as_bytes()).is_err());
    }

    /// A directory with a file, a helper for it that serves so many connections, and the daemon's view of both.
    fn etc(connections: usize) -> (tempfile::TempDir, PathBuf, ResolvConf, thread::JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        fs::write(&live, LAN).unwrap();
        let files = ResolvConf::at(&live);
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let helper_files = files.clone();
        let helper = thread::spawn(move || {
            for connection in listener.incoming().take(connections) {
                let connection = connection.unwrap();
                let reply = execute(&connection, &helper_files);
                writeln!(&connection, "{reply}").unwrap();
            }
        });
        (directory, live, files.with_helper(socket), helper)
    }

    #[test]
    fn helper_configures_and_reverts_for_the_daemon() {
        let (directory, live, files, helper) = etc(2);
        assert_eq!(files.configure(&desired()).unwrap(), Outcome::Written);
        assert!(fs::read_to_string(&live).unwrap().contains("nameserver 100.100.111.1\n"));
        // An unchanged file needs no request.
        assert_eq!(files.configure(&desired()).unwrap(), Outcome::Unchanged);
        assert_eq!(files.system_resolvers(), ["192.168.1.1".parse::<IpAddr>().unwrap()]);

        assert_eq!(files.revert().unwrap(), Outcome::Written);
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
        assert_eq!(files.revert().unwrap(), Outcome::Unchanged);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        helper.join().unwrap();
    }

    #[test]
    fn refusal_of_the_helper_is_reported() {
        let (_directory, live, files, helper) = etc(1);
        let foreign = DnsConfig { servers: vec!["192.0.2.1".parse().unwrap()], port: None, search_domain: None };
        let error = files.configure(&foreign).unwrap_err();
        assert!(error.to_string().ends_with("not a sentinel"), "{error}");
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
        helper.join().unwrap();
    }

    #[test]
    fn file_is_untouched_if_the_helper_is_unreachable() {
        let directory = tempfile::tempdir().unwrap();
        let live = directory.path().join("resolv.conf");
        fs::write(&live, LAN).unwrap();
        let files = ResolvConf::at(&live).with_helper(directory.path().join("missing"));
        assert!(matches!(files.configure(&desired()), Err(FileError::Helper(_))));
        assert_eq!(fs::read_to_string(&live).unwrap(), LAN);
    }
}
