//! What the journal may know.

use integration_tests::{
    account::{ACCOUNT, CLIENT_TOKEN, LAB_V4, PRIVATE_NAME},
    stand::tell,
};

#[test]
#[ignore = "needs root: make integration"]
fn the_usual_log_names_no_person_no_address_and_no_name() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let daemon = stand.serve_bus(stand.daemon().env("RUST_LOG", "info"))?;
        stand.sign_in("anna")?;
        stand.download(PRIVATE_NAME, 1, 4)?;
        stand.portal("DELETE", &format!("/resources/{LAB_V4}"), None)?;
        stand.portal("POST", "/drop", Some(&serde_json::json!({})))?;
        stand.download(PRIVATE_NAME, 1, 6)?;
        stand.ctl("anna", "sign-out --wait=10").check()?;

        let text = daemon.log().text();
        for secret in [ACCOUNT, "corp.example", "wiki", "Lab", "10.20.", "fdcc:", "100.64.", "100.96.", CLIENT_TOKEN] {
            assert!(!text.contains(secret), "the log says {secret:?}:\n{text}");
        }
        assert!(!text.is_empty(), "a log that says nothing at all is no use either");
        Ok(())
    })
}
