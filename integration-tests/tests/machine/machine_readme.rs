//! The commands of the README, run as they are printed there.

use std::time::Duration;

use anyhow::Context as _;
use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, PORTAL_URL},
    machine::{Machine, UNIT},
    process::{Finished, wait_until},
    stand::{Stand, with_stand},
};

use crate::machine_online::is;

const README: &str = include_str!("../../../README.md");

/// Timeout of a command.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A copy of this checkout in which `make deb` was run.
const TREE: &str = "/home/anna/linux";

/// sudo and apt run without questions.
const SUDO: &str = "#!/bin/sh\nexec \"$@\"\n";
const NO_QUESTIONS: &str = "APT::Get::Assume-Yes \"true\";\n";

/// The first block of commands after these words.
fn commands(after: &str) -> anyhow::Result<Vec<&'static str>> {
    let rest = README.split_once(after).with_context(|| format!("the README does not say {after:?}"))?.1;
    let block = rest.split("```").nth(1).context("no commands")?;
    Ok(block.lines().filter(|line| !line.is_empty()).collect())
}

/// A machine that is prepared as the README describes.
fn machine(stand: &Stand, kind: fn(&Stand) -> anyhow::Result<Machine>) -> anyhow::Result<Machine> {
    let mut machine = kind(stand)?;
    machine.write("/etc/default/firezone-client", &format!("FIREZONE_API_URL={PORTAL_URL}\nRUST_LOG=debug\n"))?;
    machine.write("/usr/local/bin/sudo", SUDO)?;
    machine.write("/etc/apt/apt.conf.d/99stand", NO_QUESTIONS)?;
    machine.inside("chmod 755 /usr/local/bin/sudo").check()?;
    machine.inside("useradd --create-home --shell /bin/sh anna").check()?;
    machine.with_packages()?;
    let copy = format!("mkdir -p {TREE}/target/deb && cp /root/packages/*_*[0-9]_*.deb {TREE}/target/deb");
    machine.inside("sh -c").arg(copy).check()?;
    machine.boot()?;
    Ok(machine)
}

/// Runs a line as anna; `sudo` in the line makes her root.
fn type_line(machine: &Machine, line: &str) -> anyhow::Result<Finished> {
    let shell = machine.program("sh -e -c").arg(format!("cd {TREE}; {line}")).env("USER", "anna").within(TIMEOUT);
    if line.starts_with("sudo ") { shell.check() } else { shell.as_user("anna").check() }
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_readme_command_for_a_desktop_works() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(stand, Machine::with_desktop)?;
        let lines = commands("## Install")?;
        let [tools, make, then @ .., sign_in] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
        assert!(tools.starts_with("sudo apt build-dep ./ ") && *make == "make deb", "{lines:?}");
        for line in then {
            type_line(&machine, line)?;
        }

        // At a terminal, where she pastes the text of the sign-in page.
        let typed = format!("{TREE}/typed");
        machine.program("mkfifo --mode=666").arg(&typed).check()?;
        let sign_in = sign_in.split('#').next().unwrap_or_default().trim();
        let terminal = format!("exec script --quiet --return --command '{sign_in}' /dev/null 0<>{typed}");
        let terminal = machine.program("sh -c").arg(terminal).env("TERM", "xterm").as_user("anna");
        let mut terminal = terminal.start("terminal", stand.logs.open("terminal"))?;
        wait_until("she is asked", TIMEOUT, || terminal.log().contains("?as=headless-client"))?;
        machine.program("sh -c").arg(format!("printf '%s\\r' {CLIENT_TOKEN} > {typed}")).check()?;
        let end = terminal.wait(TIMEOUT)?;
        anyhow::ensure!(end.success(), "{end}: {}", terminal.log().text());
        machine.wait_for_unit_status("Connected")?;
        machine.check_private_server()?;
        for line in commands("### On a desktop or over SSH")? {
            // This is done already.
            if !line.starts_with("firezonectl sign-in ") {
                type_line(&machine, line)?;
            }
        }

        let purge = README.split('`').find(|it| it.starts_with("sudo apt purge ")).context("no way to uninstall")?;
        type_line(&machine, purge)?;
        let left = machine.program("sh -c").arg("dpkg-query --show 'firezone*' 2>/dev/null || true").check()?.text();
        assert_eq!(left, "", "packages are left");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_readme_command_for_a_server_works() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(stand, Machine::new)?;
        machine.write(&format!("{TREE}/token"), &format!("{CLIENT_TOKEN}\n"))?;
        let lines = commands("### On a server")?;
        let [as_root @ .., last] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
        for line in as_root {
            type_line(&machine, line)?;
        }
        let status = type_line(&machine, &format!("sudo sh -c '{last}'"))?.text();
        assert!(status.contains("Connected"), "{status}");
        is(&machine, "firezone-online.target", "active")?;
        machine.check_private_server()
    })
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_readme_command_for_a_manual_installation_works() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(stand, Machine::new)?;
        let lines = commands("Elsewhere, or by hand:")?;
        let [make, then @ ..] = lines.as_slice() else { anyhow::bail!("{lines:?}") };
        assert!(make.starts_with("make release && sudo make install "), "{make}");
        machine.make("install")?;
        for line in then {
            type_line(&machine, line)?;
        }
        is(&machine, UNIT, "active")?;
        let sign_in = format!("firezonectl sign-in --token-stdin --account-slug {ACCOUNT} --wait=60");
        machine.program(&sign_in).as_user("anna").input(CLIENT_TOKEN).check()?;
        machine.check_private_server()
    })
}
