//! The user's settings persist in GSettings; without the schema the app still works.

use integration_tests::{
    desktop::{
        APP, Desktop, TIMEOUT,
        accessibility::{Accessibility, Is, Node},
    },
    process::wait_until,
    stand::with_stand,
};

const CONNECT: &str = "Connect at start";
const ADD_FAVOURITE: &str = "Add to Favourites";
const REMOVE_FAVOURITE: &str = "Remove from Favourites";

fn connect_switch(screen: &Accessibility) -> anyhow::Result<Node> {
    screen.find(APP, "switch", CONNECT)
}

#[test]
#[ignore = "needs root: make integration"]
fn settings_persist_and_a_missing_schema_is_tolerated() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", ADD_FAVOURITE)?;
        screen.find(APP, "button", REMOVE_FAVOURITE)?;
        desktop.act(stand, "preferences")?;
        assert!(connect_switch(&screen)?.is(Is::Checked));
        screen.click(APP, "switch", CONNECT)?;
        wait_until("it is off", TIMEOUT, || connect_switch(&screen).is_ok_and(|it| !it.is(Is::Checked)))?;

        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        screen.find(APP, "button", REMOVE_FAVOURITE)?;
        desktop.act(stand, "preferences")?;
        assert!(!connect_switch(&screen)?.is(Is::Checked));

        desktop.kill_app()?;
        Desktop::remove_schema(stand)?;
        desktop.start_app(stand, &[])?;
        screen.click(APP, "button", ADD_FAVOURITE)?;
        screen.find(APP, "button", REMOVE_FAVOURITE)?;
        desktop.act(stand, "preferences")?;
        assert!(!connect_switch(&screen)?.is(Is::Sensitive));
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}
