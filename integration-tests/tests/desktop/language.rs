//! The app uses the user's language.

use integration_tests::{
    desktop::{APP, Desktop, TIMEOUT},
    process::wait_until,
    stand::with_stand,
};

#[test]
#[ignore = "needs root: make integration"]
fn app_uses_the_language_of_its_user() -> anyhow::Result<()> {
    with_stand(|stand| {
        stand.start_bus()?;
        let _daemon = stand.start_on_bus(stand.daemon())?;
        let mut desktop = Desktop::log_in(stand)?;
        let screen = desktop.accessibility(stand)?;
        for (language, sign_in) in [("de", "Mit dem Browser anmelden"), ("zh_CN", "使用浏览器登录(B)")] {
            desktop.set_language(language);
            desktop.start_app(stand, &[])?;
            screen.find(APP, "button", sign_in)?;
            desktop.act(stand, "quit")?;
            wait_until("the app has ended", TIMEOUT, || desktop.app().is_ok_and(|app| !app.is_running()))?;
        }
        Ok(())
    })
}
