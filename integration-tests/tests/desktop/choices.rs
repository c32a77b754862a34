//! What the user has chosen lasts where the desktop keeps settings; where it cannot, the app works all the same.

use integration_tests::{
    desktop::{
        APP, Desktop, PATIENCE,
        accessibility::{Accessibility, Is, Node},
    },
    process::eventually,
    stand::tell,
};

const CONNECT: &str = "Connect at start";
const LIKE: &str = "Add to favourites";
const LIKED: &str = "Remove from favourites";

fn connect_switch(person: &Accessibility) -> anyhow::Result<Node> {
    person.find(APP, "switch", CONNECT)
}

#[test]
#[ignore = "needs root: make integration"]
fn choices_last_and_without_their_schema_the_app_works_all_the_same() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        stand.sign_in("anna")?;
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", LIKE)?;
        person.find(APP, "button", LIKED)?;
        desktop.act(stand, "preferences")?;
        assert!(connect_switch(&person)?.is(Is::Checked));
        person.click(APP, "switch", CONNECT)?;
        eventually("it is off", PATIENCE, || connect_switch(&person).is_ok_and(|it| !it.is(Is::Checked)))?;

        desktop.kill_app()?;
        desktop.start_app(stand, &[])?;
        person.find(APP, "button", LIKED)?;
        desktop.act(stand, "preferences")?;
        assert!(!connect_switch(&person)?.is(Is::Checked));

        desktop.kill_app()?;
        Desktop::remove_schema(stand)?;
        desktop.start_app(stand, &[])?;
        person.click(APP, "button", LIKE)?;
        person.find(APP, "button", LIKED)?;
        desktop.act(stand, "preferences")?;
        assert!(!connect_switch(&person)?.is(Is::Sensitive));
        assert!(desktop.app()?.is_running());
        Ok(())
    })
}
