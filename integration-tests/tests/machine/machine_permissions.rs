//! The permission table with logind sessions.

use std::time::Duration;

use integration_tests::{
    machine::{Machine, UNIT},
    permissions::PermissionTable,
    process::wait_until,
    stand::with_stand,
};

#[test]
#[ignore = "needs root: make integration"]
fn permissions_come_from_the_group_not_from_the_login_session() -> anyhow::Result<()> {
    with_stand(|stand| {
        let mut machine = Machine::new(stand)?;
        machine.install("install")?;
        machine.install_program("bus-caller")?;
        machine.add_member("anna")?;
        machine.inside("useradd --create-home --shell /bin/sh bob").check()?;
        machine.inside("useradd --system --gid firezone firezone").check()?;
        machine.boot()?;
        wait_until("the unit is up", Duration::from_secs(30), || {
            machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "active")
        })?;

        let far_away = |user: &str| {
            machine.program(&format!("setpriv --reuid={user} --regid={user} --clear-groups bus-caller methods"))
        };
        let mut matrix = PermissionTable::default();
        matrix.ask("root", machine.program("bus-caller methods"), "yes")?;
        matrix.ask("member", machine.program("bus-caller methods").as_user("anna"), "yes")?;
        matrix.ask("member, no session", far_away("anna"), "yes")?;
        matrix.ask("other, no session", far_away("bob"), "challenge")?;
        let at_seat = machine.program("env XDG_SEAT=seat0 su --login bob --command");
        let at_seat = at_seat.arg("loginctl show-session $XDG_SESSION_ID | tr = ' '; bus-caller methods");
        let said = matrix.ask("other, active session", at_seat, "challenge")?;
        for fact in ["\nActive yes\n", "\nSeat seat0\n", "\nRemote no\n", "\nName bob\n"] {
            assert!(format!("\n{said}").contains(fact), "{fact:?} is not so: {said}");
        }
        let gateway = machine.program("setpriv --reuid=firezone --regid=firezone --init-groups bus-caller methods");
        matrix.ask("a gateway's user", gateway, "no")?;

        // A new member is permitted in every session.
        machine.program("usermod --append --groups firezone bob").check()?;
        matrix.ask("other, member now", far_away("bob"), "yes")?;
        machine.systemctl("mask --runtime --now polkit.service")?;
        matrix.ask("root, no polkit", machine.program("bus-caller methods"), "no")?;
        matrix.print();
        Ok(())
    })
}
