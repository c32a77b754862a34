//! The permission table with polkit and on the private socket, cell by cell.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{
    account::CLIENT_TOKEN,
    permissions::PermissionTable,
    process::wait_until,
    stand::{Stand, with_stand},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const SOCKET: &str = "/run/dev.firezone.client/bus";

/// Callers, and the permissions that the daemon reports to them.
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

/// The membership at the time of the call takes effect, not that of the login.
fn bob_joins_and_leaves(stand: &Stand, door: &str) -> anyhow::Result<()> {
    stand.client().program("usermod -aG firezone bob").check()?;
    wait_until("bob may, without a new login", TIMEOUT, || may_read(stand, "bob", door).is_ok_and(|may| may))?;
    stand.client().program("gpasswd --delete bob firezone").check()?;
    wait_until("bob may no longer", TIMEOUT, || may_read(stand, "bob", door).is_ok_and(|may| !may))
}

/// `subject.groups` in newer versions of polkit: not the groups that the user has now, but those that the process
/// had when it began.
const GROUPS_OF_THE_LOGIN: (&str, &str) = (
    "/etc/polkit-1/rules.d/00-groups-of-the-login.rules",
    "polkit.addRule(function (action, subject) { subject.groups = [subject.user]; return polkit.Result.NOT_HANDLED; });",
);

/// Groups that a process claims for itself have no effect.
fn nobody_speaks_for_themselves(stand: &Stand) -> anyhow::Result<()> {
    let ask = |details: &str| {
        let ask = format!("pkcheck --action-id dev.firezone.Client.read --process $$ {details}");
        stand.client().program("sh -c").arg(ask).as_user("bob").run()
    };
    let lie = ask("--detail firezone.member true")?;
    assert!(!lie.status.success() && lie.stderr.contains("rusted"), "{}", lie.error_text());
    let truth = ask("")?;
    assert!(!truth.status.success(), "{}", truth.error_text());
    Ok(())
}

/// A process that is older than the membership of its user has the permissions of members while its user is one.
fn those_who_were_here_before_may(stand: &Stand) -> anyhow::Result<()> {
    let mut early = stand.caller("bob", "persist").start("bus-caller", stand.logs.open("bus-caller"))?;
    wait_until("bob was refused", TIMEOUT, || early.log().text().contains(".NotAuthorized"))?;
    nobody_speaks_for_themselves(stand)?;
    stand.client().program("usermod -aG firezone bob").check()?;
    anyhow::ensure!(early.wait(TIMEOUT)?.success(), "{}", early.log().text());
    stand.client().program("gpasswd --delete bob firezone").check()?;
    wait_until("bob may no longer", TIMEOUT, || may_read(stand, "bob", "").is_ok_and(|may| !may))
}

#[test]
#[ignore = "needs root: make integration"]
fn group_membership_takes_effect_without_a_new_login() -> anyhow::Result<()> {
    with_stand(|stand| {
        let (place, rule) = GROUPS_OF_THE_LOGIN;
        stand.client().write(place, rule)?;
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;
        let mut matrix = PermissionTable::default();
        for (who, user, foreseen) in CALLERS {
            matrix.ask(who, stand.caller(user, "methods"), foreseen)?;
        }
        those_who_were_here_before_may(stand)?;
        matrix.print();
        Ok(())
    })
}

/// A rule of the administrator, which is added and removed while the daemon runs.
const RULE: &str = "/etc/polkit-1/rules.d/00-of-the-administrator.rules";

fn rule(user: &str, result: &str) -> String {
    format!(
        "polkit.addRule(function (action, subject) {{ \
         if (action.id === \"dev.firezone.Client.read\" && subject.user === \"{user}\") return polkit.Result.{result}; \
         return polkit.Result.NOT_HANDLED; }});"
    )
}

/// The `read` permission of this user, as the daemon reports it.
fn foreseen(stand: &Stand, user: &str) -> anyhow::Result<String> {
    let call = "busctl --system --json=short call dev.firezone.Client /dev/firezone/Client dev.firezone.Client1";
    let answer = stand.client().program(call).arg("GetPermissions").as_user(user).check()?.json()?;
    Ok(answer["data"][0]["read"].as_str().context("nothing is said about reading")?.to_owned())
}

/// A caller reads repeatedly while a new rule denies access. How long reading succeeds, from before polkit was
/// called first.
fn anna_loses(stand: &Stand) -> anyhow::Result<Duration> {
    let mut reader = stand.caller("anna", "lose").start("bus-caller", stand.logs.open("bus-caller"))?;
    wait_until("anna reads", TIMEOUT, || reader.log().contains(" yes"))?;
    stand.client().write(RULE, &rule("anna", "NO"))?;
    anyhow::ensure!(reader.wait(TIMEOUT)?.success(), "{}", reader.log().text());
    let milliseconds = || -> Option<u64> { reader.log().text().rsplit_once(" no ")?.1.trim().parse().ok() };
    wait_until("anna is refused", TIMEOUT, || milliseconds().is_some())?;
    assert_eq!(foreseen(stand, "anna")?, "no");
    stand.client().program("rm").arg(RULE).check()?;
    wait_until("anna may again", TIMEOUT, || may_read(stand, "anna", "").is_ok_and(|may| may))?;
    assert_eq!(foreseen(stand, "anna")?, "yes");
    Ok(Duration::from_millis(milliseconds().unwrap_or(u64::MAX)))
}

#[test]
#[ignore = "needs root: make integration"]
#[allow(clippy::print_stdout, reason = "output of the test run")]
fn polkit_rule_of_the_administrator_takes_effect() -> anyhow::Result<()> {
    // For so long a permission to read would be good if polkit announced nothing, see `crates/bus/src/caller_cache.rs`.
    const CACHE_LIFETIME: Duration = Duration::from_secs(1);
    // A slow machine needs longer to notice the file.
    const ATTEMPTS: usize = 10;
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;

        assert_eq!(foreseen(stand, "bob")?, "challenge");
        stand.client().write(RULE, &rule("bob", "YES"))?;
        wait_until("bob may", TIMEOUT, || may_read(stand, "bob", "").is_ok_and(|may| may))?;
        assert_eq!(foreseen(stand, "bob")?, "yes");
        stand.client().program("rm").arg(RULE).check()?;
        wait_until("bob may no longer", TIMEOUT, || may_read(stand, "bob", "").is_ok_and(|may| !may))?;

        // A refusal before the end of the cache lifetime is caused by the signal of polkit.
        for _ in 0..ATTEMPTS {
            let read = anna_loses(stand)?;
            println!("with the rule made after the first answer, anna was refused {read:?} after the first question");
            if read < CACHE_LIFETIME {
                return Ok(());
            }
        }
        anyhow::bail!("a permission to read outlives polkit's announcement each time")
    })
}

/// A call of a member who disconnects before the result has no effect.
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
    // Callers that stay are served.
    stand.ctl("anna", "sign-out --wait=10").check()?;
    Ok(())
}

#[test]
#[ignore = "needs root: make integration"]
fn permission_table_holds_for_every_caller() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.unprivileged_daemon()?)?;
        let mut matrix = PermissionTable::default();
        // There are no login sessions here: `setpriv` is like a login over SSH without logind.
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
fn private_socket_works_without_a_system_bus() -> anyhow::Result<()> {
    with_stand(|stand| {
        let daemon = stand.daemon().start("firezoned", stand.logs.open("firezoned"))?;
        wait_until("the private socket is there", TIMEOUT, || {
            stand.client().program("test -S").arg(SOCKET).run().is_ok_and(|it| it.status.success())
        })?;
        let mode = stand.client().program("stat --format=%A:%U:%G").arg(SOCKET).check()?.text();
        assert_eq!(mode.trim(), "srw-rw----:root:firezone");

        for user in ["bob", "firezone"] {
            for command in ["status", "sign-in --token-stdin", "resources", "sign-out"] {
                let outcome = stand.ctl(user, command).input(CLIENT_TOKEN).run()?;
                assert_eq!(outcome.status.code(), Some(4), "{user}: {command}: {}", outcome.error_text());
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
        let mut matrix = PermissionTable::default();
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
