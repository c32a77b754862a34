//! The app speaks the language of its user.

use integration_tests::{
    desktop::{APP, Desktop, PATIENCE},
    process::eventually,
    stand::tell,
};

#[test]
#[ignore = "needs root: make integration"]
fn the_app_speaks_the_language_of_its_user() -> anyhow::Result<()> {
    tell(|stand| {
        stand.start_bus()?;
        let _daemon = stand.serve_bus(stand.daemon())?;
        let mut desktop = Desktop::log_in(stand)?;
        let person = desktop.accessibility(stand)?;
        for (language, sign_in) in [("de", "Mit dem Browser anmelden"), ("zh_CN", "使用浏览器登录(B)")] {
            desktop.speak(language);
            desktop.start_app(stand, &[])?;
            person.find(APP, "button", sign_in)?;
            desktop.act(stand, "quit")?;
            eventually("the app has ended", PATIENCE, || desktop.app().is_ok_and(|app| !app.is_running()))?;
        }
        Ok(())
    })
}
