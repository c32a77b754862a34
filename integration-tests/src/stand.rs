//! The complete test stand: network, portal, gateway, relay, resolvers and server.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    account::{
        self, ACCOUNT, CLIENT_TOKEN, GATEWAY_TOKEN, PORTAL_ADDRESS, PORTAL_NAME, PORTAL_URL, PRIVATE_NAME,
        PRIVATE_TEXT, TURN,
    },
    bus::{self, Bus},
    checkout::{program_dir, source_dir},
    logs::Logs,
    netns::{FILES, Host},
    process::{Finished, Program, Running, wait_until},
    topology::{PORTAL, Place, RELAY, RESOLVER, SERVER, SPARE_RELAY, Topology},
    web,
};

/// Log filter of our own programs, without the data path.
pub(crate) const LOG_FILTER: &str = "debug,hyper=info,h2=info,zbus=info,rustls=info,tungstenite=info,mio=info";

/// The TUN device of the daemon.
pub const INTERFACE: &str = "firezone0";
/// A name of the portal's machine that only the resolver of the network knows.
pub const DOH_NAME: &str = "doh.public.example";
/// The daemon's name on the bus.
pub const BUS_NAME: &str = "dev.firezone.Client";

/// The network with all programs except the daemon.
#[derive(Debug)]
pub struct Stand {
    /// The output of all programs.
    pub logs: Arc<Logs>,
    portal: Option<Running>,
    gateway: Option<Running>,
    relay: Option<Running>,
    _services: Vec<Running>,
    bus: Option<Bus>,
    /// Last, so that it outlives the programs.
    pub net: Topology,
}

/// Runs one test. After a failure, all logs are saved, and the command that repeats the test is printed.
pub fn with_stand(test: impl FnOnce(&mut Stand) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut stand = Stand::start()?;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&mut stand)));
    if !matches!(outcome, Ok(Ok(()))) {
        stand.save_failure_report();
    }
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Stand {
    /// Builds the network and starts portal, gateway, relay, resolvers and server.
    pub fn start() -> anyhow::Result<Self> {
        let logs = Arc::new(Logs::default());
        let net = Topology::new(&program_dir()?)?;
        let mut stand = Self { logs, portal: None, gateway: None, relay: None, _services: vec![], bus: None, net };

        stand.start_servers()?;
        stand.start_relay()?;
        let config = account::portal_config(Path::new(FILES));
        stand.net.portal.write(PORTAL_CONFIG, &serde_json::to_string_pretty(&config)?)?;
        stand.start_portal()?;
        stand.start_gateway()?;
        Ok(stand)
    }

    /// The host under test.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.net.client
    }

    /// Starts the portal with its stored state.
    pub fn start_portal(&mut self) -> anyhow::Result<()> {
        let program = self.net.portal.program(&format!("dev-portal {PORTAL_CONFIG}")).env("RUST_LOG", LOG_FILTER);
        self.portal = Some(program.start("dev-portal", self.logs.open("dev-portal"))?);
        wait_until("the portal answers", Duration::from_secs(10), || self.portal("GET", "/state", None).is_ok())
    }

    /// Stops the portal.
    pub fn stop_portal(&mut self) -> anyhow::Result<()> {
        if let Some(portal) = self.portal.take() {
            portal.stop()?;
        }
        Ok(())
    }

    /// Starts the gateway and waits until the portal knows it.
    pub fn start_gateway(&mut self) -> anyhow::Result<()> {
        let program = self
            .net
            .gateway
            .program(&format!("dev-gateway --portal {PORTAL_ADDRESS} --id gateway-one"))
            .env("FIREZONE_TOKEN", GATEWAY_TOKEN)
            .env("RUST_LOG", LOG_FILTER);
        self.gateway = Some(program.start("dev-gateway", self.logs.open("dev-gateway"))?);
        self.wait_for_gateway()
    }

    /// Stops the gateway.
    pub fn stop_gateway(&mut self) -> anyhow::Result<()> {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop()?;
        }
        Ok(())
    }

    /// Waits until the portal knows the gateway.
    pub fn wait_for_gateway(&self) -> anyhow::Result<()> {
        wait_until("the gateway has joined", Duration::from_secs(15), || {
            self.portal("GET", "/state", None).is_ok_and(|state| state["gateways"][0]["joined"] == true)
        })
    }

    /// Starts the relay.
    pub fn start_relay(&mut self) -> anyhow::Result<()> {
        self.relay = Some(self.coturn(&self.net.relay, RELAY)?);
        Ok(())
    }

    /// Kills the relay.
    pub fn kill_relay(&mut self) -> anyhow::Result<()> {
        if let Some(mut relay) = self.relay.take() {
            relay.signal(Signal::SIGKILL)?;
            relay.wait(Duration::from_secs(5))?;
        }
        Ok(())
    }

    /// Starts the other relay.
    pub fn start_spare_relay(&mut self) -> anyhow::Result<()> {
        let relay = self.coturn(&self.net.spare_relay, SPARE_RELAY)?;
        self._services.push(relay);
        Ok(())
    }

    /// Marks a relay as online or offline; the portal announces that.
    pub fn set_relay_online(&self, id: Uuid, online: bool) -> anyhow::Result<()> {
        self.portal("PUT", &format!("/relays/{id}"), Some(&Value::Bool(online))).map(drop)
    }

    fn coturn(&self, host: &Host, place: Place) -> anyhow::Result<Running> {
        let name = host.name();
        let mut program = host.program(&format!(
            "turnserver -n --no-cli --no-tls --no-dtls --lt-cred-mech --realm firezone --log-file stdout --simple-log \
             --verbose --no-multicast-peers --pidfile {FILES}/{name}.pid --userdb {FILES}/{name}-turndb \
             --min-port 49152 --max-port 65535 --listening-port {TURN}"
        ));
        for address in [place.v4.to_string(), place.v6.to_string()] {
            program = program.arg("--listening-ip").arg(&address).arg("--relay-ip").arg(&address);
        }
        for login in account::relay_logins() {
            program = program.arg("--user").arg(format!("{}:{}", login.username, login.password));
        }
        let running = program.start("coturn", self.logs.open(name))?;
        host.wait_for_port("udp", TURN)?;
        Ok(running)
    }

    /// Starts a system bus with polkit on the client.
    pub fn start_bus(&mut self) -> anyhow::Result<()> {
        self.bus = Some(Bus::start(&self.net.client, &source_dir(), &self.logs)?);
        Ok(())
    }

    /// Ends polkit on the client, for good.
    pub fn stop_polkit(&mut self) -> anyhow::Result<()> {
        match &mut self.bus {
            Some(bus) => bus.stop_polkit(&self.net.client),
            None => Ok(()),
        }
    }

    /// Stops polkit on the client from responding, or lets it continue.
    pub fn pause_polkit(&self, pause: bool) -> anyhow::Result<()> {
        self.bus.as_ref().map_or(Ok(()), |bus| bus.pause_polkit(&self.net.client, pause))
    }

    /// The process ID of the daemon, from its status file.
    pub fn daemon_process(&self) -> anyhow::Result<u64> {
        let file = self.client().read("/run/dev.firezone.client/status.json")?;
        serde_json::from_str::<Value>(&file)?["pid"].as_u64().context("the daemon does not say its process")
    }

    /// A caller of the daemon's bus API.
    pub fn caller(&self, user: &str, deed: &str) -> Program<'_> {
        self.net.client.program(&format!("bus-caller {deed}")).as_user(user)
    }

    /// Sends a request to the control API of the portal.
    pub fn portal(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut curl = self.net.portal.program(&format!(
            "curl --silent --show-error --fail-with-body --max-time 5 --unix-socket {FILES}/portal.sock -X {method} http://portal{path}"
        ));
        if let Some(body) = body {
            curl = curl.arg("--json").arg(body.to_string());
        }
        let answer = curl.check()?.text();
        if answer.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&answer)?) }
    }

    /// The daemon with a service account token: no bus, no files.
    pub fn headless(&self) -> Program<'_> {
        self.daemon_program("firezoned --no-ipc")
            .env("FIREZONE_TOKEN", CLIENT_TOKEN)
            .env("FIREZONE_ID", "client-one")
            .env("FIREZONE_NAME", "headless client")
            .env("FIREZONE_DNS_CONTROL", "etc-resolv-conf")
    }

    /// The daemon in interactive mode, run as root.
    pub fn daemon(&self) -> Program<'_> {
        self.daemon_program("firezoned").env("FIREZONE_DNS_CONTROL", "etc-resolv-conf")
    }

    /// The daemon in interactive mode, as a package runs it: unprivileged, with two capabilities. An unprivileged daemon
    /// cannot change `/etc/resolv.conf`.
    pub fn unprivileged_daemon(&self) -> anyhow::Result<Program<'_>> {
        let make =
            "for d in /run /var/lib; do install -d -o firezoned -g firezone -m 0750 $d/dev.firezone.client; done";
        self.net.client.program("sh -c").arg(make).check()?;
        Ok(self.daemon_program("firezoned").env("FIREZONE_DNS_CONTROL", "disabled").as_service(
            "firezoned",
            "firezone",
            &["net_admin", "net_bind_service"],
        ))
    }

    /// Starts the daemon and waits until it is on the bus.
    pub fn start_on_bus(&self, daemon: Program<'_>) -> anyhow::Result<Running> {
        let mut running = daemon.start("firezoned", self.logs.open("firezoned"))?;
        wait_until("the daemon is on the bus", Duration::from_secs(10), || {
            bus::owns(&self.net.client, BUS_NAME) || !running.is_running()
        })?;
        anyhow::ensure!(running.is_running(), "the daemon ended: {}", running.log().text());
        Ok(running)
    }

    /// A command line of `firezonectl` on the client.
    pub fn ctl(&self, user: &str, arguments: &str) -> Program<'_> {
        self.net.client.program(&format!("firezonectl {arguments}")).as_user(user)
    }

    /// Signs in as `user` and waits until connected.
    pub fn sign_in(&self, user: &str) -> anyhow::Result<Finished> {
        self.ctl(user, &format!("sign-in --token-stdin --account-slug {ACCOUNT} --wait=20")).input(CLIENT_TOKEN).check()
    }

    /// Addresses, rules and routes of the daemon in the kernel. Empty before a session and after it.
    pub fn host_state(&self) -> anyhow::Result<String> {
        let client = &self.net.client;
        let interface = client.program("ip -brief address show dev").arg(INTERFACE).run()?.text();
        let rules = client.program("ip rule").check()?.text() + &client.program("ip -6 rule").check()?.text();
        let foreign = ["lookup local", "lookup main", "lookup default"];
        let rules = rules.lines().filter(|line| !foreign.iter().any(|it| line.ends_with(it)));
        let routes = client.program("ip route show table all").check()?.text()
            + &client.program("ip -6 route show table all").check()?.text();
        let routes = routes.lines().filter(|line| line.contains(INTERFACE));
        Ok(rules.chain(routes).chain(interface.lines()).collect::<Vec<_>>().join("\n"))
    }

    /// Fetches so many mebibytes from `host` and checks each byte. `family` is 4 or 6.
    pub fn download(&self, host: &str, mebibytes: usize, family: u8) -> anyhow::Result<()> {
        let url = format!("http://{host}/bytes/{mebibytes}");
        let body = self.fetch(&url).arg(format!("-{family}")).check()?.stdout;
        anyhow::ensure!(web::sha256(&body) == web::checksum(mebibytes), "{url} is not what the server has");
        Ok(())
    }

    /// Waits until the headless daemon is ready for traffic.
    pub fn wait_until_connected(&self) -> anyhow::Result<()> {
        wait_until("the tunnel has addresses and the client has a resolver", Duration::from_secs(20), || {
            let has_address = self.net.client.program("ip -brief address show dev").arg(INTERFACE).run();
            let resolv_conf = self.net.client.read("/etc/resolv.conf").unwrap_or_default();
            let has_resolver = resolv_conf.contains("100.100.111.") || resolv_conf.contains(":8000:100:100:111:");
            has_resolver && has_address.is_ok_and(|it| it.text().contains("100."))
        })
    }

    /// Fetches a URL on the client.
    pub fn fetch(&self, url: &str) -> Program<'_> {
        self.net.client.program("curl --silent --show-error --fail --globoff --max-time 30").arg(url)
    }

    fn daemon_program(&self, command: &str) -> Program<'_> {
        self.net.client.program(command).env("FIREZONE_API_URL", PORTAL_URL).env("RUST_LOG", LOG_FILTER)
    }

    fn start_servers(&mut self) -> anyhow::Result<()> {
        let dnsmasq = "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces --user=root \
                       --pid-file= --log-queries --log-facility=- --address=/#/";
        let resolver = self
            .net
            .resolver
            .program(dnsmasq)
            .arg(format!("--listen-address={},{}", RESOLVER.v4, RESOLVER.v6))
            .arg(format!("--host-record={PORTAL_NAME},{},{}", PORTAL.v4, PORTAL.v6))
            .arg(format!("--host-record={DOH_NAME},{},3600", PORTAL.v4))
            .start("dnsmasq", self.logs.open("resolver"))?;
        // Gateways probe a name server with this name.
        let private = self
            .net
            .server
            .program(dnsmasq)
            .arg(format!("--listen-address={},{}", SERVER.v4, SERVER.v6))
            .arg(format!("--address=/corp.example/{}", SERVER.v4))
            .arg(format!("--address=/corp.example/{}", SERVER.v6))
            .arg(format!("--txt-record={PRIVATE_NAME},{PRIVATE_TEXT}"))
            .arg("--host-record=firezone.dev,192.0.2.1")
            .start("dnsmasq", self.logs.open("private-resolver"))?;
        let web = self
            .net
            .server
            .program(&format!("dev-server {}:80 [{}]:80", SERVER.v4, SERVER.v6))
            .start("dev-server", self.logs.open("dev-server"))?;

        self._services = vec![resolver, private, web];
        self.net.resolver.wait_for_port("udp", 53)?;
        self.net.server.wait_for_port("udp", 53)?;
        self.net.server.wait_for_port("tcp", 80)
    }

    /// Saves logs and the state of the network.
    #[allow(clippy::print_stderr, reason = "output of the test run")]
    fn save_failure_report(&self) {
        let name = std::thread::current().name().unwrap_or("test").to_owned();
        let facts = self.logs.open("facts");
        let client = &self.net.client;
        for command in [
            "ip address",
            "ip route show table all",
            "ip rule",
            "ip -6 rule",
            "cat /etc/resolv.conf",
            "ss -tulpn",
            "ip -s link",
        ] {
            let output = client.program(command).run().map_or_else(|error| error.to_string(), |it| it.text());
            facts.add(&format!("client: {command}\n{output}"));
        }
        facts.add(&self.net.router.nft("list counters").unwrap_or_default());
        facts.add(&self.portal("GET", "/state", None).map(|state| format!("{state:#}")).unwrap_or_default());

        match self.logs.keep(&name) {
            Ok(directory) => eprintln!("logs of all programs: {}", directory.display()),
            Err(error) => eprintln!("the logs could not be kept: {error}"),
        }
        eprintln!("to repeat only this test: make story STORY={name}");
    }
}

/// The configuration file of the portal.
const PORTAL_CONFIG: &str = "/run/lab/portal.json";
