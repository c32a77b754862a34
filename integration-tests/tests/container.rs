//! The container image: its content, and the daemon as the first process of a container.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PRIVATE_NAME},
    container::{ContainerOptions, Image},
    process::wait_until,
    stand::{Stand, with_stand},
};
use nix::sys::signal::Signal;

/// Limit for a stop. Engines kill after ten seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// ID of the group `firezone` in the image.
const FIREZONE: &str = "999";

fn resolv_conf(stand: &Stand) -> anyhow::Result<String> {
    stand.client().read("/etc/resolv.conf")
}

#[test]
#[ignore = "needs root: make integration"]
fn container_with_a_token_connects_and_stops_within_the_grace_period() -> anyhow::Result<()> {
    with_stand(|stand| {
        let image = Image::build(stand)?;
        let before = resolv_conf(stand)?;
        let given = ContainerOptions::default().with("FIREZONE_TOKEN", CLIENT_TOKEN);
        let mut container = image.start("container", &given)?;
        container.wait_until_healthy()?;

        let status = container.program("0", "firezonectl status --json").check()?.json()?;
        assert_eq!((&status["mode"], &status["state"]), (&"service".into(), &"connected".into()));
        assert_eq!(status["warnings"], serde_json::json!([]));
        let refused = container.program("0", "firezonectl sign-out").run()?;
        assert_eq!(refused.status.code(), Some(6), "{}", refused.error_text());
        // Its resolv.conf is the client's, mounted.
        assert_ne!(resolv_conf(stand)?, before);
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.download(PRIVATE_NAME, 1, 6)?;

        let process = container.first_process()?;
        let environment = stand.client().program("cat").arg(format!("/proc/{process}/environ")).check()?.text();
        assert!(!environment.contains(CLIENT_TOKEN), "the token is in the environment");
        no_zombies(stand, process)?;

        container.signal(Signal::SIGHUP)?;
        let log = container.process.log();
        wait_until("it starts anew", Duration::from_secs(10), || log.contains("state=reconnecting"))?;
        container.wait_until_healthy()?;
        stand.download(PRIVATE_NAME, 1, 4)?;

        let asked = Instant::now();
        container.signal(Signal::SIGTERM)?;
        let status = container.process.wait(Duration::from_secs(20))?;
        let took = asked.elapsed();
        assert!(status.success(), "ended with {status}");
        assert!(took < STOP_TIMEOUT, "took {took:?}");
        assert_eq!(resolv_conf(stand)?, before, "resolv.conf is not as it was");
        assert_eq!(stand.host_state()?, "", "something was left behind");
        assert!(!container.process.log().contains(CLIENT_TOKEN), "the log knows the token");

        // Nor does it wait for a portal whose name does not resolve.
        let mut lost = given;
        lost.environment[0].1 = "ws://198.51.100.9:8081/".to_owned();
        let mut container = image.start("lost", &lost)?;
        wait_until("it is not healthy", Duration::from_secs(10), || {
            container.health().is_ok_and(|it| it.status.code() == Some(5))
        })?;
        container.signal(Signal::SIGTERM)?;
        assert!(container.process.wait(STOP_TIMEOUT)?.success());
        assert_eq!(stand.host_state()?, "");
        Ok(())
    })
}

/// Leaves an orphan to the first process, which has to reap it.
fn no_zombies(stand: &Stand, first_process: u32) -> anyhow::Result<()> {
    let children = || -> anyhow::Result<String> {
        let children = format!("/proc/{first_process}/task/{first_process}/children");
        Ok(stand.client().program("cat").arg(children).check()?.text())
    };
    let inside = format!("nsenter --target={first_process} --pid");
    let input = "read _ < /run/lab/gate & exit 0";
    stand.client().program("mkfifo /run/lab/gate").check()?;
    stand.client().program(&format!("{inside} setsid sh -c")).arg(format!("({input}) >/dev/null 2>&1")).check()?;
    wait_until("an orphan is left to the first process", Duration::from_secs(10), || {
        children().is_ok_and(|it| !it.trim().is_empty())
    })?;
    stand.client().program("sh -c").arg("echo > /run/lab/gate").check()?;
    wait_until("the orphan has ended and is gone", Duration::from_secs(10), || {
        children().is_ok_and(|it| it.trim().is_empty())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn container_accepts_a_token_file_and_fixed_resolvers() -> anyhow::Result<()> {
    with_stand(|stand| {
        let image = Image::build(stand)?;
        let secret = "/run/lab/secret";
        stand.client().write(secret, &format!("{CLIENT_TOKEN}\n"))?;

        stand.client().program("chmod 444").arg(secret).check()?;
        let named = ContainerOptions::default()
            .with("FIREZONE_TOKEN", "/run/secrets/token")
            .with_host_file(secret, "/run/secrets/token");
        let mounted = ContainerOptions::default().with_host_file(secret, "/etc/dev.firezone.client/token");
        // With the fewest privileges.
        let mut container = image.start("named", &ContainerOptions { nothing_else: true, ..named })?;
        container.wait_until_healthy()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        container.signal(Signal::SIGTERM)?;
        assert!(container.process.wait(STOP_TIMEOUT)?.success());

        let (code, said) = image.run("exposed", &mounted)?;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("others may read the file (mode 0444)"), "{said}");

        // With a read-only resolv.conf it reports a warning, and the rest works.
        stand.client().program("chmod 400").arg(secret).check()?;
        let mut fixed = mounted;
        fixed.files[0].1 = "/etc/resolv.conf:ro";
        let mut container = image.start("mounted", &fixed)?;
        container.wait_until_healthy()?;
        let status = container.program("0", "firezonectl status --json").check()?.json()?;
        assert_eq!(status["warnings"][0]["code"], "dns-read-only", "{status}");
        stand.download("10.20.0.2", 1, 4)?;
        container.signal(Signal::SIGTERM)?;
        assert!(container.process.wait(STOP_TIMEOUT)?.success());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn container_reports_missing_privileges_and_files() -> anyhow::Result<()> {
    with_stand(|stand| {
        let image = Image::build(stand)?;
        let given = ContainerOptions::default().with("FIREZONE_TOKEN", CLIENT_TOKEN);
        let net_admin = "CAP_NET_ADMIN is missing (docker run --cap-add NET_ADMIN)";
        let remedy = "(docker run --device /dev/net/tun)";
        let no_device = format!("/dev/net/tun does not exist and cannot be created {remedy}");
        let locked_device = format!("/dev/net/tun cannot be opened {remedy}");

        let rows: [(&str, ContainerOptions, &[&str]); 4] = [
            ("powerless", ContainerOptions { net_admin: false, ..given.clone() }, &[net_admin]),
            ("deviceless", ContainerOptions { tun: false, ..given.clone() }, &[&no_device]),
            ("neither", ContainerOptions { net_admin: false, tun: false, ..given.clone() }, &[net_admin, &no_device]),
            (
                "locked",
                ContainerOptions { tun: false, ..given }.with_host_file("/dev/net/tun", "/dev/net/tun"),
                &[&locked_device],
            ),
        ];
        for (name, given, expected) in rows {
            let (code, said) = image.run(name, &given)?;
            assert_eq!(code, Some(3), "{name}: {said}");
            for text in expected {
                assert!(said.contains(text), "{name}: {said}");
            }
        }
        assert_eq!(stand.host_state()?, "");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn container_is_signed_in_through_its_private_socket() -> anyhow::Result<()> {
    with_stand(|stand| {
        let image = Image::build(stand)?;
        // As in an image that is built upon ours.
        let root = image.root.display().to_string();
        let people = "anna:x:1001:1001::/:/nologin\nbob:x:1002:1002::/:/nologin";
        let add = "printf '%s\\n' \"$2\" >> \"$1/etc/passwd\" && sed -i 's/^firezone:.*/&anna/' \"$1/etc/group\"";
        stand.client().program("sh -c").arg(add).arg("sh").arg(root).arg(people).check()?;

        let mut container = image.start("container", &ContainerOptions::default())?;
        let log = container.process.log();
        wait_until("it serves", Duration::from_secs(10), || log.contains("serving the private socket"))?;
        wait_until("it answers", Duration::from_secs(10), || {
            container.health().is_ok_and(|it| it.status.code() == Some(5))
        })?;
        let process = container.first_process()?;
        let socket = format!("/proc/{process}/root/run/dev.firezone.client/bus");
        let mode = stand.client().program("stat --format=%A:%u:%g").arg(socket).check()?.text();
        assert_eq!(mode.trim(), format!("srw-rw----:0:{FIREZONE}"));

        let sign_in = format!("firezonectl sign-in --token-stdin --account-slug {ACCOUNT} --wait=20");
        for user in ["1002:1002", "1003:1003"] {
            for verb in [&sign_in, "firezonectl status", "firezonectl sign-out"] {
                let refused = container.program(user, verb).input(CLIENT_TOKEN).run()?;
                assert_eq!(refused.status.code(), Some(4), "{user}: {verb}: {}", refused.error_text());
            }
        }
        // A group of the process is not membership: the user database decides.
        let refused = container.program(&format!("1002:{FIREZONE}"), "firezonectl sign-out").run()?;
        assert_eq!(refused.status.code(), Some(4), "{}", refused.error_text());

        for user in ["0:0", &format!("1001:{FIREZONE}")] {
            container.program(user, &sign_in).input(CLIENT_TOKEN).check()?;
            let status = container.program(user, "firezonectl status --json").check()?.json()?;
            assert_eq!((&status["mode"], &status["state"]), (&"user".into(), &"connected".into()), "{user}");
            container.wait_until_healthy()?;
            stand.download(PRIVATE_NAME, 1, 4)?;
            container.program(user, "firezonectl sign-out --wait=10").check()?;
        }
        container.signal(Signal::SIGTERM)?;
        assert!(container.process.wait(STOP_TIMEOUT)?.success());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn image_contains_exactly_what_the_dockerfile_describes() -> anyhow::Result<()> {
    with_stand(|stand| {
        let image = Image::build(stand)?;
        let settings = &image.settings["config"];
        let source = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
        let (file, makefile) = (source("Dockerfile")?, source("Makefile")?);
        let (build, last) = file.split_once("\nFROM scratch\n").expect("a last stage of its own");
        let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in last.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (instruction, rest) = line.split_once(' ').expect("an instruction");
            said.entry(instruction).or_default().push(rest);
        }

        // It uses the script that also builds our archive.
        assert!(build.trim_end().ends_with("RUN scripts/image-root target/release /image"), "{build}");
        let compile = "build --locked --release --package firezoned --package firezonectl\n";
        assert!(build.contains(&format!("RUN cargo {compile}")) && makefile.contains(&format!("$(CARGO) {compile}")));
        assert_eq!(said.remove("COPY"), Some(vec!["--from=build /image/ /"]));
        // It has exactly the settings of the archive.
        let list = |of: &str| settings[of].as_array().cloned().unwrap_or_default();
        assert_eq!(serde_json::json!(said.remove("ENV")), settings["Env"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(said["ENTRYPOINT"][0])?, settings["Entrypoint"]);
        assert_eq!(said["STOPSIGNAL"][0], settings["StopSignal"]);
        let volumes: Vec<&String> = settings["Volumes"].as_object().map(|it| it.keys().collect()).unwrap_or_default();
        assert_eq!(said["VOLUME"], volumes);
        for label in &said["LABEL"] {
            let (name, value) = label.split_once('=').expect("a label");
            assert_eq!(settings["Labels"][name], value);
        }
        let (options, command) = said["HEALTHCHECK"][0].split_once(" CMD ").expect("a command");
        let command: Vec<serde_json::Value> = serde_json::from_str(command)?;
        let check = &settings["Healthcheck"];
        assert_eq!(check["Test"], serde_json::json!([vec!["CMD".into()], command].concat()));
        assert_eq!(options, "--interval=30s --timeout=5s --start-period=60s");
        for (name, seconds) in [("Interval", 30_u64), ("Timeout", 5), ("StartPeriod", 60)] {
            assert_eq!(check[name], seconds * 1_000_000_000, "{name}");
        }
        for known in ["ENTRYPOINT", "STOPSIGNAL", "VOLUME", "LABEL", "HEALTHCHECK"] {
            said.remove(known);
        }
        assert_eq!(said, BTreeMap::new(), "an instruction of which the archive knows nothing");
        assert_eq!(list("Env").len(), 2);

        // Two programs with their dependencies, and no setuid files.
        let find = "find \"$1\" -path '*/usr/bin/*' -printf '%f\\n' | sort; find \"$1\" -perm /6000 ! -type d";
        let found =
            stand.client().program("sh -c").arg(find).arg("sh").arg(image.root.display().to_string()).check()?.text();
        assert_eq!(found, "firezonectl\nfirezoned\n");
        Ok(())
    })
}
