//! Interactive mode over the bus: permitted users, other users, and monitors.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{
    account::{ACCOUNT, ACTOR, ANNA, AUTH_URL, CLIENT_TOKEN, LAB_V4, PRIVATE_NAME},
    bus,
    process::wait_until,
    stand::{BUS_NAME, Stand, with_stand},
    topology::SERVER,
};

const CALL: &str = "busctl --system call dev.firezone.Client /dev/firezone/Client";
const REFUSED: &str = "dev.firezone.Client1.Error.NotAuthorized";

fn state(stand: &Stand) -> anyhow::Result<String> {
    let property = "busctl --system get-property dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
    let text = stand.client().program(property).as_user("bob").arg("State").check()?.text();
    Ok(text.trim().trim_start_matches("s ").trim_matches('"').to_owned())
}

#[test]
#[ignore = "needs root: make integration"]
fn group_member_controls_the_tunnel() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        let introspection = stand
            .client()
            .program("busctl --system introspect dev.firezone.Client /dev/firezone/Client")
            .as_user("anna")
            .check()?
            .text();
        for word in ["dev.firezone.Client1.Resources", ".SignIn", ".StatusChanged", ".State"] {
            assert!(introspection.contains(word), "{word} is missing in:\n{introspection}");
        }
        assert_eq!(stand.ctl("anna", "status --quiet").run()?.status.code(), Some(5), "not connected yet");

        stand.sign_in("anna")?;

        let status = stand.ctl("anna", "--json status").check()?.json()?;
        assert_eq!((&status["state"], &status["account_slug"]), (&"connected".into(), &ACCOUNT.into()));
        let resources = stand.ctl("anna", "--json resources").check()?.json()?;
        let names: Vec<_> = resources["resources"].as_array().into_iter().flatten().map(|it| &it["name"]).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        stand.download(PRIVATE_NAME, 1, 4)?;

        stand.ctl("anna", "sign-out --wait=10").check()?;
        assert_eq!(state(stand)?, "signed-out");
        assert_eq!(stand.host_state()?, "", "something was left behind");
        // Twice, because the second call uses a cached result.
        stand.sign_in("anna")?;
        stand.download(PRIVATE_NAME, 1, 6)
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn daemon_runs_with_two_capabilities_without_root() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let mut daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;

        stand.sign_in("anna")?;

        // Such a daemon cannot change resolv.conf.
        let question = format!("dig +short +time=3 @100.100.111.1 {PRIVATE_NAME} A");
        let answer = stand.client().program(&question).check()?.text();
        assert!(answer.lines().next().is_some_and(|line| line.starts_with("100.9")), "{answer}");
        stand.download(&SERVER.v4.to_string(), 1, 4)?;
        stand.ctl("anna", "sign-out --wait=10").check()?;
        assert_eq!(stand.host_state()?, "", "something was left behind");
        assert!(daemon.is_running());
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn other_users_are_refused_and_root_is_permitted() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;

        let bob = |call: &str| stand.client().program(&format!("{CALL} {call}")).as_user("bob").run();
        for call in [
            "dev.firezone.Client1 GetStatus a{sv} 0",
            "dev.firezone.Client1 SignOut a{sv} 0",
            "dev.firezone.Client1 Reset a{sv} 0",
            "dev.firezone.Client1.Resources List a{sv} 0",
            "dev.firezone.Client1.Resources SetInternetResource ba{sv} true 0",
        ] {
            let outcome = bob(call)?;
            assert!(!outcome.status.success(), "{call} was allowed");
        }
        // busctl prints the text of an error but not its name.
        let call = format!("gdbus call --system --dest {BUS_NAME} --object-path /dev/firezone/Client");
        let refusal = stand
            .client()
            .program(&format!("{call} --method dev.firezone.Client1.GetStatus {{}}"))
            .as_user("bob")
            .run()?;
        assert!(refusal.stderr.contains(REFUSED), "{}", refusal.stderr);

        for command in ["sign-in --token-stdin", "sign-out", "status", "resources"] {
            let outcome = stand.ctl("bob", command).input(CLIENT_TOKEN).run()?;
            assert_eq!(outcome.status.code(), Some(4), "firezonectl {command}: {}", outcome.error_text());
        }
        assert_eq!(state(stand)?, "signed-out", "all users may see the state");

        stand.client().program("firezonectl sign-in --token-stdin --wait=20").input(CLIENT_TOKEN).check()?;
        stand.client().program("firezonectl sign-out --wait=10").check()?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn bus_signals_contain_nothing_private() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        let monitor = bus::monitor(stand.client(), "bob", &stand.logs)?;
        wait_until("bob listens", Duration::from_secs(5), || monitor.log().contains("NameAcquired"))?;

        stand.sign_in("anna")?;
        stand.ctl("anna", "status").check()?;
        stand.ctl("anna", "resources").check()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.portal("DELETE", &format!("/resources/{LAB_V4}"), None)?;
        wait_until("the change is announced", Duration::from_secs(5), || monitor.log().contains("member=Changed"))?;
        stand.ctl("anna", "sign-out --wait=10").check()?;
        wait_until("the end is announced", Duration::from_secs(5), || {
            monitor.log().count("member=StatusChanged") + monitor.log().count("PropertiesChanged") > 1
        })?;

        let heard = monitor.log().text();
        assert!(!heard.contains("member=SignIn"), "bob has heard what others say");
        for secret in [ACCOUNT, PRIVATE_NAME, "wiki", "Lab", "10.20.", "fdcc:", "100.64.", CLIENT_TOKEN, "portal."] {
            assert!(!heard.contains(secret), "bob has heard {secret:?}:\n{heard}");
        }
        Ok(())
    })
}

/// All bytes on the bus up to now.
const CAPTURE: &str = "/run/lab/capture";

/// Secrets that never appear on the bus, not even for root: the token and other credentials.
const SECRETS: [&str; 4] = [CLIENT_TOKEN, "anna-is-allowed", "relay-password-of", ANNA.1];

/// Anna's home directory, and the input of her terminal.
const HOME: &str = "/run/lab/anna";
const TYPED: &str = "/run/lab/anna/typed";

/// Mounts `devpts`, which a fresh `/dev` does not contain.
const TERMINALS: &str = "mkdir -p /dev/pts && mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts && \
                         rm -f /dev/ptmx && ln -s pts/ptmx /dev/ptmx";

/// Anna signs in at a terminal with a browser on another machine, and pastes the final address. Returns the secrets that nothing else
/// may contain: nonce, state, and the portal's part of the token.
fn sign_in_with_a_browser(stand: &Stand) -> anyhow::Result<Vec<String>> {
    let client = stand.client();
    client.program("sh -c").arg(TERMINALS).check()?;
    client.program("mkfifo --mode=0666").arg(TYPED).check()?;
    let line = format!("firezonectl sign-in --callback --account-slug {ACCOUNT} --wait=20");
    // Opened for reading and writing, it neither blocks nor ends with a writer.
    let terminal = format!("exec script --quiet --return --command '{line}' /dev/null 0<>{TYPED}");
    let terminal = client.program("sh -c").arg(terminal).env("TERM", "xterm").env("HOME", HOME).as_user("anna");
    let mut terminal = terminal.start("terminal", stand.logs.open("terminal"))?;
    wait_until("the page is shown", Duration::from_secs(10), || terminal.log().contains(AUTH_URL))?;
    let shown = terminal.log().text();
    let page = shown.split_whitespace().find(|word| word.starts_with(AUTH_URL)).context("no page")?.to_owned();

    let browser =
        "curl --silent --show-error --fail --max-time 10 --cookie-jar /run/lab/anna/jar --cookie /run/lab/anna/jar";
    let form = page.replacen('?', "/sign_in?", 1);
    let person = [format!("email={}", ANNA.0), format!("password={}", ANNA.1)];
    // A browser may use another address of the portal for each page.
    let mut post = client.program(browser).arg("--ipv6").arg(form).as_user("anna");
    for field in &person {
        post = post.arg("--data-urlencode").arg(field);
    }
    post.check()?;
    let redirect = client
        .program(browser)
        .arg("--ipv4")
        .arg("--output")
        .arg("/dev/null")
        .arg("--write-out")
        .arg("%{redirect_url}");
    let redirect = redirect.arg(format!("{AUTH_URL}{ACCOUNT}/sign_in/client_redirect")).as_user("anna").check()?.text();
    client.program("sh -c").arg(format!("printf '%s\\r' '{redirect}' > {TYPED}")).check()?;
    let end = terminal.wait(Duration::from_secs(30))?;
    anyhow::ensure!(end.success(), "{end}: {}", terminal.log().text());

    let secret = |address: &str, name: &str| {
        let value = address.split_once(&format!("{name}=")).and_then(|it| it.1.split('&').next());
        value.filter(|it| it.len() > 40).map(str::to_owned).with_context(|| format!("no {name} in {address}"))
    };
    Ok(vec![secret(&page, "nonce")?, secret(&page, "state")?, secret(&redirect, "fragment")?])
}

#[test]
#[ignore = "needs root: make integration"]
fn bus_monitor_of_root_sees_no_token() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon().env("FIREZONE_AUTH_BASE_URL", AUTH_URL))?;
        let said = |text: &str| {
            let count = stand.client().program("grep --text --count --fixed-strings -e").arg(text).arg(CAPTURE).run();
            count.is_ok_and(|count| count.status.success())
        };
        let monitor = stand.client().program("sh -c").arg(format!("exec busctl --system capture > {CAPTURE}"));
        let _monitor = monitor.start("busctl", stand.logs.open("busctl"))?;
        wait_until("root listens", Duration::from_secs(10), || {
            drop(state(stand));
            said("signed-out")
        })?;

        stand.sign_in("anna")?;
        stand.ctl("anna", "status").check()?;
        stand.ctl("anna", "resources").check()?;
        stand.ctl("anna", "settings get").check()?;
        stand.ctl("anna", "doctor").run()?;
        stand.client().program("install --directory --owner=anna").arg(HOME).check()?;
        stand.ctl("anna", &format!("report {HOME}/report")).check()?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.ctl("anna", "sign-out --wait=10").check()?;
        let of_the_browser = sign_in_with_a_browser(stand)?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.ctl("anna", "sign-out --wait=10").check()?;
        assert_eq!(state(stand)?, "signed-out");
        // This was sent last and is captured, so everything is captured.
        let last = "dev.firezone.Client1.Dns Explain s the-last-word.example";
        stand.client().program(&format!("{CALL} {last}")).as_user("anna").check()?;
        wait_until("root has heard all of it", Duration::from_secs(10), || said("the-last-word"))?;

        for heard in ["SignIn", "SignOut", "Collect", ACCOUNT, ACTOR, "wiki"] {
            assert!(said(heard), "root has not heard {heard:?}, so what was not heard means nothing");
        }
        for secret in SECRETS.into_iter().chain(of_the_browser.iter().map(String::as_str)) {
            assert!(!said(secret), "root has heard {secret:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn busctl_reads_status_switches_the_internet_resource_and_signs_out() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        // It cannot pass a descriptor.
        stand.sign_in("anna")?;

        let call = |method: &str| -> anyhow::Result<String> {
            Ok(stand.client().program(&format!("{CALL} {method}")).as_user("anna").check()?.text())
        };
        let status = call("dev.firezone.Client1 GetStatus a{sv} 0")?;
        for word in ["\"connected\"", ACCOUNT] {
            assert!(status.contains(word), "{status}");
        }
        let resources = call("dev.firezone.Client1.Resources List a{sv} 0")?;
        for word in [PRIVATE_NAME, "\"Lab\"", "\"Berlin\""] {
            assert!(resources.contains(word), "{resources}");
        }
        let one = call("dev.firezone.Client1.Resources List a{sv} 1 name s wiki")?;
        assert!(one.contains(PRIVATE_NAME) && !one.contains("\"Lab\""), "{one}");

        let property = "busctl --system get-property dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
        let is_active = || -> anyhow::Result<String> {
            let property = stand.client().program(property).as_user("anna").arg("InternetResourceActive");
            Ok(property.check()?.text().trim().to_owned())
        };
        for (word, shown) in [("true", "b true"), ("false", "b false")] {
            call(&format!("dev.firezone.Client1.Resources SetInternetResource ba{{sv}} {word} 0"))?;
            wait_until("it is switched", Duration::from_secs(10), || is_active().is_ok_and(|is| is == shown))?;
        }

        call("dev.firezone.Client1 SignOut a{sv} 0")?;
        wait_until("signed out", Duration::from_secs(10), || state(stand).is_ok_and(|state| state == "signed-out"))?;
        assert_eq!(stand.host_state()?, "", "something was left behind");
        Ok(())
    })
}
