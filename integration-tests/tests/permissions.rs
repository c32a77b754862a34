//! The permission table against the real polkit, and against the private socket: who may what, cell by cell.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{
    account::CLIENT_TOKEN,
    permissions::Matrix,
    process::eventually,
    stand::{Stand, tell},
};

const PATIENCE: Duration = Duration::from_secs(10);
const SOCKET: &str = "/run/dev.firezone.client/bus";

/// Who asks, and what they are told about what they may.
const CALLERS: [(&str, &str, &str); 4] = [
    ("root", "root", "yes"),
    ("member", "anna", "yes"),
    ("another user", "bob", "challenge"),
    ("a gateway's user", "firezone", "no"),
];

fn may_read(stand: &Stand, user: &str, door: &str) -> anyhow::Result<bool> {
    let said = stand.caller(user, &format!("{door}flood 1 1")).run()?;
    Ok(said.text().starts_with("yes"))
}

/// Membership counts when it is asked about, not when somebody logged in.
fn bob_joins_and_leaves(stand: &Stand, door: &str) -> anyhow::Result<()> {
    stand.client().program("usermod -aG firezone bob").check()?;
    eventually("bob may, without a new login", PATIENCE, || may_read(stand, "bob", door).is_ok_and(|may| may))?;
    stand.client().program("gpasswd --delete bob firezone").check()?;
    eventually("bob may no longer", PATIENCE, || may_read(stand, "bob", door).is_ok_and(|may| !may))
}

/// What a rule of newer versions of polkit finds in `subject`: not the groups that the user has now, but those that the process
/// had when it began.
const GROUPS_OF_THE_LOGIN: (&str, &str) = (
    "/etc/polkit-1/rules.d/00-groups-of-the-login.rules",
    "polkit.addRule(function (action, subject) { subject.groups = [subject.user]; return polkit.Result.NOT_HANDLED; });",
);

/// Whoever says of themselves that they are a member gets nothing by it.
fn nobody_speaks_for_themselves(stand: &Stand) -> anyhow::Result<()> {
    let ask = |details: &str| {
        let ask = format!("pkcheck --action-id dev.firezone.Client.read --process $$ {details}");
        stand.client().program("sh -c").arg(ask).as_user("bob").run()
    };
    let lie = ask("--detail firezone.member true")?;
    assert!(!lie.status.success() && lie.stderr.contains("rusted"), "{}", lie.complaint());
    let truth = ask("")?;
    assert!(!truth.status.success(), "{}", truth.complaint());
    Ok(())
}

/// A process that is older than the membership of its user may what members may, as long as its user is one.
fn those_who_were_here_before_may(stand: &Stand) -> anyhow::Result<()> {
    let mut early = stand.caller("bob", "persist").start("bus-caller", stand.logs.open("bus-caller"))?;
    eventually("bob was refused", PATIENCE, || early.log().text().contains(".NotAuthorized"))?;
    nobody_speaks_for_themselves(stand)?;
    stand.client().program("usermod -aG firezone bob").check()?;
    anyhow::ensure!(early.wait(PATIENCE)?.success(), "{}", early.log().text());
    stand.client().program("gpasswd --delete bob firezone").check()?;
    eventually("bob may no longer", PATIENCE, || may_read(stand, "bob", "").is_ok_and(|may| !may))
}

#[test]
#[ignore = "needs root: make integration"]
fn membership_counts_without_a_new_login_whatever_polkit_knows_of_it() -> anyhow::Result<()> {
    tell(|stand| {
        let (place, rule) = GROUPS_OF_THE_LOGIN;
        stand.client().write(place, rule)?;
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.unprivileged_daemon()?)?;
        let mut matrix = Matrix::default();
        for (who, user, foreseen) in CALLERS {
            matrix.ask(who, stand.caller(user, "methods"), foreseen)?;
        }
        those_who_were_here_before_may(stand)?;
        matrix.print();
        Ok(())
    })
}

/// Members who are gone when the answer comes do not change anything.
fn callers_vanish(stand: &Stand) -> anyhow::Result<()> {
    stand.sign_in("anna")?;
    let facts = || -> anyhow::Result<_> {
        let status = stand.ctl("anna", "--json status").check()?.json()?;
        let settings = stand.ctl("anna", "--json settings get").check()?.json()?;
        Ok((status["state"].clone(), status["internet_resource_active"].clone(), settings))
    };
    let before = facts()?;
    assert_eq!(before.0, "connected");
    stand.pause_polkit(true)?;
    for _ in 0..3 {
        stand.caller("anna", "vanish").check()?;
    }
    stand.pause_polkit(false)?;
    assert_eq!(facts()?, before);
    // Those who stay are served.
    stand.ctl("anna", "sign-out --wait=10").check()?;
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn the_permission_table_holds_for_every_caller() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.unprivileged_daemon()?)?;
        let mut matrix = Matrix::default();
        // Nobody here has a session: `setpriv` is like a login over SSH without logind.
        for (who, user, foreseen) in CALLERS {
            matrix.ask(who, stand.caller(user, "methods"), foreseen)?;
        }
        bob_joins_and_leaves(stand, "")?;
        callers_vanish(stand)?;
        stand.stop_polkit()?;
        for (who, user, _) in CALLERS {
            matrix.ask(&format!("{who}, no polkit"), stand.caller(user, "methods"), "no")?;
        }
        matrix.print();
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make integration"]
fn without_a_system_bus_the_private_socket_serves() -> anyhow::Result<()> {
    tell(|stand| {
        let daemon = stand.daemon().start("firezoned", stand.logs.open("firezoned"))?;
        eventually("the private socket is there", PATIENCE, || {
            stand.client().program("test -S").arg(SOCKET).run().is_ok_and(|it| it.status.success())
        })?;
        let mode = stand.client().program("stat --format=%A:%U:%G").arg(SOCKET).check()?.text();
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

        let door = format!("--socket {SOCKET} ");
        let mut matrix = Matrix::default();
        for (who, user, foreseen) in CALLERS {
            let caller = stand.caller(user, &format!("{door}methods"));
            match user {
                "bob" => matrix.cannot_connect(who, caller)?,
                _ => drop(matrix.ask(who, caller, foreseen)?),
            }
        }
        bob_joins_and_leaves(stand, &door)?;
        matrix.print();

        daemon.stop()?;
        let left = stand.client().program("test -e").arg(SOCKET).run()?;
        assert!(!left.status.success(), "the socket is left behind");
        assert_eq!(stand.ctl("anna", "status").run()?.status.code(), Some(3));
        Ok(())
    })
}
