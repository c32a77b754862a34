//! The permission table against the real polkit, and against the private socket: who may what, cell by cell.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{
    account::CLIENT_TOKEN,
    process::eventually,
    stand::{Stand, tell},
};

/// One method for each action that a method needs, as `busctl` calls it.
const METHODS: [(&str, &str); 6] = [
    ("read", "dev.firezone.Client1 GetStatus a{sv} 0"),
    ("read", "dev.firezone.Client1.Resources List a{sv} 0"),
    ("control", "dev.firezone.Client1 Reset a{sv} 0"),
    ("control", "dev.firezone.Client1.Resources SetInternetResource ba{sv} false 0"),
    ("sign-out", "dev.firezone.Client1 SignOut a{sv} 0"),
    ("-", "dev.firezone.Client1 GetPermissions"),
];

/// Who asks, and whether those may whom the table lets pass.
const CALLERS: [(&str, &str, bool); 4] = [
    ("root", "root", true),
    ("member of the group", "anna", true),
    ("another user", "bob", false),
    ("the user of a gateway", "firezone", false),
];

fn call(stand: &Stand, user: &str, method: &str) -> anyhow::Result<bool> {
    let call = "busctl --system --allow-interactive-authorization=false call dev.firezone.Client /dev/firezone/Client";
    let outcome = stand.client().program(&format!("{call} {method}")).as_user(user).run()?;
    let refused = outcome.stderr.contains("permitted") || outcome.stderr.contains("cannot be asked");
    anyhow::ensure!(outcome.status.success() || refused, "{user}: {method}: {}", outcome.complaint());
    Ok(outcome.status.success())
}

/// Signing in needs a descriptor, which `busctl` cannot hand over.
fn sign_in(stand: &Stand, user: &str) -> anyhow::Result<bool> {
    let outcome = stand.ctl(user, "sign-in --token-stdin").input(CLIENT_TOKEN).run()?;
    anyhow::ensure!(matches!(outcome.status.code(), Some(0 | 4)), "{user}: sign-in: {}", outcome.complaint());
    Ok(outcome.status.success())
}

/// All cells of one caller: for people, and as asserted.
#[allow(clippy::print_stdout, reason = "this is for whoever runs the tests")]
fn check(stand: &Stand, who: &str, user: &str, may: bool) -> anyhow::Result<()> {
    let word = |yes: bool| if yes { "yes" } else { "no" };
    let signed_in = sign_in(stand, user)?;
    println!("{who:28} {:10} SignIn: {}", "sign-in", word(signed_in));
    assert_eq!(signed_in, may, "{who}: SignIn");
    for (action, method) in METHODS {
        let permitted = call(stand, user, method)?;
        println!("{who:28} {action:10} {}: {}", method.split(" a").next().unwrap_or(method), word(permitted));
        assert_eq!(permitted, may || action == "-", "{who}: {method}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn the_permission_table_holds_for_every_caller() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.unprivileged_daemon()?)?;
        // Nobody here has a session: `setpriv` is like a login over SSH without logind.
        for (who, user, may) in CALLERS {
            check(stand, who, user, may)?;
        }

        // Membership counts when it is asked about, not when somebody logged in.
        stand.client().program("usermod -aG firezone bob").check()?;
        eventually("bob may, without a new login", Duration::from_secs(10), || {
            call(stand, "bob", METHODS[0].1).is_ok_and(|may| may)
        })?;
        stand.client().program("gpasswd --delete bob firezone").check()?;
        eventually("bob may no longer", Duration::from_secs(10), || {
            call(stand, "bob", METHODS[0].1).is_ok_and(|may| !may)
        })?;

        // Whoever is gone before the answer is no reason to do anything.
        let gone = "for i in 1 2 3 4 5 6 7 8; do timeout 0.01 busctl --system call dev.firezone.Client \
                    /dev/firezone/Client dev.firezone.Client1 SignOut a{sv} 0; done; true";
        stand.client().program("sh -c").arg(gone).as_user("bob").check()?;
        assert!(call(stand, "anna", METHODS[0].1)?, "the daemon goes on");

        stand.stop_polkit()?;
        for (who, user, _) in CALLERS {
            check(stand, &format!("{who}, without polkit"), user, false)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn without_a_system_bus_the_private_socket_serves() -> anyhow::Result<()> {
    tell(|stand| {
        let daemon = stand.daemon().start("firezoned", stand.logs.open("firezoned"))?;
        let socket = "/run/dev.firezone.client/bus";
        eventually("the private socket is there", Duration::from_secs(10), || {
            stand.client().program("test -S").arg(socket).run().is_ok_and(|it| it.status.success())
        })?;
        let mode = stand.client().program("stat --format=%A:%U:%G").arg(socket).check()?.text();
        assert_eq!(mode.trim(), "srw-rw----:root:firezone");

        for user in ["bob", "firezone"] {
            for command in ["status", "sign-in --token-stdin", "resources", "sign-out"] {
                let outcome = stand.ctl(user, command).input(CLIENT_TOKEN).run()?;
                assert_eq!(outcome.status.code(), Some(4), "{user}: {command}: {}", outcome.complaint());
            }
        }
        for user in ["anna", "root"] {
            stand.sign_in(user).with_context(|| format!("{user} signs in"))?;
            let status = stand.ctl(user, "--json status").check()?.json()?;
            assert_eq!(status["state"], "connected");
            stand.ctl(user, "resources").check()?;
            stand.ctl(user, "sign-out --wait=10").check()?;
        }
        daemon.stop()?;
        let left = stand.client().program("test -e").arg(socket).run()?;
        assert!(!left.status.success(), "the socket is left behind");
        assert_eq!(stand.ctl("anna", "status").run()?.status.code(), Some(3));
        Ok(())
    })
}
