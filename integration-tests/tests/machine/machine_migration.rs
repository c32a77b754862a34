//! The packages on machines with the files of the official client.

use std::time::Duration;

use integration_tests::{
    account::{ACTOR, AUTH_URL, CLIENT_TOKEN, PORTAL_URL, WIKI},
    machine::{Machine, UNIT, packages::Version::This},
    portal::derive::device_id,
    process::wait_until,
    stand::{Stand, with_stand},
};

use crate::machine_app::{at_desktop, desktop_of_anna};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Directory and file of that client's device ID.
const STATE: &str = "/var/lib/dev.firezone.client/config";
const ID: &str = "an-id-of-long-ago";

/// The package of that client, with its scripts and the files of its service.
const OFFICIAL_CLIENT: &str = "set -e; cd /root; mkdir -p old/DEBIAN old/usr/bin old/usr/lib/systemd/system \
    old/usr/share/applications; \
    printf 'Package: firezone-client-gui\nVersion: 1.5.16\nArchitecture: all\nMaintainer: x <x@localhost>\n\
Description: x\n' > old/DEBIAN/control; \
    printf '#!/bin/sh\nsystemctl disable firezone-client-tunnel\nsystemctl stop firezone-client-tunnel\n' > old/DEBIAN/prerm; \
    chmod 755 old/DEBIAN/prerm; \
    printf '[Unit]\nConflicts=firezone-client.service\n[Service]\nExecStart=sleep infinity\n\
StateDirectory=dev.firezone.client\n[Install]\nWantedBy=default.target\n' \
        > old/usr/lib/systemd/system/firezone-client-tunnel.service; \
    touch old/usr/bin/firezone-client-tunnel old/usr/bin/firezone-client-gui; \
    printf '[Desktop Entry]\nType=Application\nName=x\nExec=firezone-client-gui\n' \
        > old/usr/share/applications/firezone-client-gui.desktop; \
    dpkg-deb --build old old.deb; dpkg --install old.deb; rm -r old old.deb; \
    groupadd --system firezone-client; usermod --append --groups firezone-client anna; \
    state=/var/lib/dev.firezone.client/config; mkdir -p $state; \
    printf '{\"id\":\"an-id-of-long-ago\"}' > $state/firezone-id.json; \
    chown -R root:firezone-client $state; chmod 770 $state; chmod 640 $state/firezone-id.json; \
    systemctl daemon-reload; systemctl enable --now firezone-client-tunnel";

/// Attributes of its token in the keyring, and of ours.
const OFFICIAL: &str = "username dev.firezone.client/token";
const OURS: &str = "application dev.firezone.Client";

/// Files of its desktop app.
const DESKTOP_ENVIRONMENT: &str = "set -e; cd; mkdir -p .config/autostart .config/dev.firezone.client/config \
    .local/share/dev.firezone.client/data .local/share/applications; \
    ln -s /usr/share/applications/firezone-client-gui.desktop .config/autostart/; \
    printf '[Desktop Entry]\nType=Application\nName=x\nExec=/usr/bin/firezone-client-gui open-deep-link %%U\n\
MimeType=x-scheme-handler/firezone-fd0020211111;\n' > .local/share/applications/firezone-client.desktop; \
    printf '{\"favorite_resources\":[\"d2500000-0000-4000-8000-000000000001\"],\"account_slug\":\"example-corp\"}' \
        > .config/dev.firezone.client/config/general_settings.json; \
    printf 'Anna Example' > .local/share/dev.firezone.client/data/actor_name.txt; \
    printf '{\"account_slug\":\"example-corp\",\"actor_name\":\"Anna Example\"}' \
        > .local/share/dev.firezone.client/data/session_data.json";

/// A machine with that client and the package files.
fn machine(mut machine: Machine) -> anyhow::Result<Machine> {
    machine.inside("useradd --create-home --shell /bin/sh anna").check()?;
    machine.with_packages()?;
    machine.boot()?;
    machine.program("sh -c").arg(OFFICIAL_CLIENT).check()?;
    Ok(machine)
}

/// Whether the portal knows this machine by the stored device ID.
fn is_the_old_device(stand: &Stand) -> anyhow::Result<()> {
    let portal = stand.portal("GET", "/state", None)?;
    let device = device_id("client", ACTOR, ID).to_string();
    anyhow::ensure!(portal.to_string().contains(&device), "{device}: {portal}");
    Ok(())
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_machine_of_the_official_client_keeps_its_device_id() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(Machine::new(stand)?)?;
        machine.write("/etc/default/firezone-client-tunnel", &format!("FIREZONE_API_URL={PORTAL_URL}\n"))?;
        let id_file = format!("{STATE}/firezone-id.json");
        let id = machine.read(&id_file)?;

        let said = machine.dpkg_install(&["firezoned", "firezonectl"], This)?.text();
        assert!(said.contains("anna may command the tunnel as before"), "{said}");
        wait_until("the unit is up", TIMEOUT, || {
            machine.property(UNIT, "ActiveState").is_ok_and(|state| state == "active")
        })?;
        assert_eq!(machine.property("firezone-client-tunnel.service", "LoadState")?, "not-found");
        // She is permitted, the portal is that of the old environment file, and the device ID is the stored one.
        machine.sign_in("anna")?;
        machine.check_private_server()?;
        is_the_old_device(stand)?;
        assert_eq!(machine.read(&id_file)?, id);

        machine.dpkg("--purge firezonectl firezoned")?;
        assert_eq!(machine.read(&id_file)?, id, "the id outlives us");
        let owner = machine.program("stat --format=%U").arg(id_file).check()?.text();
        assert_eq!(owner.trim(), "root");
        Ok(())
    })
}

/// The items of her keyring with this attribute, with secrets.
fn kept(machine: &Machine, attribute: &str) -> anyhow::Result<String> {
    Ok(at_desktop(machine.program(&format!("secret-tool search --all {attribute}"))).run()?.error_text())
}

#[test]
#[ignore = "needs root: make test-machine"]
fn every_desktop_of_the_official_client_migrates_without_a_new_sign_in() -> anyhow::Result<()> {
    with_stand(|stand| {
        let machine = machine(Machine::with_desktop(stand)?)?;
        let her = |command: &str, words: &str| -> anyhow::Result<String> {
            let program = machine.program(command).arg(words);
            Ok(at_desktop(program).check()?.text().trim().to_owned())
        };
        // The portal is that of root's file, not that of a user's file.
        let settings = format!("{STATE}/advanced_settings.json");
        let told = serde_json::json!({"auth_url": AUTH_URL, "api_url": PORTAL_URL, "log_filter": "debug"}).to_string();
        machine.write(&settings, &told)?;
        machine.program("chmod 600").arg(&settings).check()?;
        her("sh -c", DESKTOP_ENVIRONMENT)?;

        let _desktop = desktop_of_anna(&machine, stand)?;
        let keyring = "gnome-keyring-daemon --foreground --components=secrets --unlock";
        let keyring = at_desktop(machine.program(keyring)).input("the password of the login");
        let _keyring = keyring.start("keyring", stand.logs.open("keyring"))?;
        // A call before it runs would start another one.
        at_desktop(machine.program("gdbus wait --session --timeout 60 org.freedesktop.secrets")).check()?;
        let store =
            "secret-tool store --label keyring:dev.firezone.client/token@ username dev.firezone.client/token service";
        at_desktop(machine.program(store).arg("")).input(CLIENT_TOKEN).check()?;
        assert!(kept(&machine, OFFICIAL)?.contains(CLIENT_TOKEN));

        machine.dpkg_install(&["firezoned", "firezonectl", "firezone-gtk"], This)?;
        let app = at_desktop(machine.program("firezone-gtk --background"));
        let _app = app.start("firezone-gtk", stand.logs.open("firezone-gtk"))?;
        wait_until("she is connected", TIMEOUT, || {
            let status = machine.program("firezonectl --json status").as_user("anna").run();
            status.and_then(|it| it.json()).is_ok_and(|it| it["state"] == "connected")
        })?;
        machine.check_private_server()?;
        is_the_old_device(stand)?;
        wait_until("her token is ours", TIMEOUT, || kept(&machine, OFFICIAL).is_ok_and(|it| it.is_empty()))?;
        assert!(kept(&machine, OURS)?.contains(CLIENT_TOKEN));

        let values = machine.program("firezonectl --json settings get").as_user("anna").check()?.text();
        assert!(values.contains(PORTAL_URL) && values.contains(&settings), "{values}");
        let favourites = her("gsettings get dev.firezone.Gtk", "favourites")?;
        assert_eq!(favourites, format!("['{WIKI}']"));
        assert_eq!(her("ls -A", "/home/anna/.config/autostart")?, "dev.firezone.Gtk.desktop");
        let target = her("readlink", "/home/anna/.config/autostart/dev.firezone.Gtk.desktop")?;
        assert_eq!(target, "/usr/share/applications/dev.firezone.Gtk.desktop");
        let opener = her("gio mime", "x-scheme-handler/firezone-fd0020211111")?;
        assert!(opener.lines().next().is_some_and(|line| line.ends_with("dev.firezone.Gtk.desktop")), "{opener}");

        machine.dpkg("--purge firezone-gtk firezonectl firezoned")?;
        assert_eq!(machine.read(&settings)?, told, "it is not ours");
        let owners = machine.program("find /var/lib/dev.firezone.client ! -user root").check()?.text();
        assert_eq!(owners, "");
        Ok(())
    })
}
