//! `settings`, `log-level`.

use crate::{connected, played::Played};

#[tokio::test]
async fn settings_say_where_they_come_from() {
    let played = Played::new(connected()).await;
    assert_eq!(
        played.run("settings").await.unwrap(),
        "\
KEY      VALUE                    FROM
api-url  wss://api.firezone.dev/  default                                    locked
name     build-7                  /etc/dev.firezone.client/firezoned.toml:3  locked
"
    );
    assert_eq!(played.run("settings get -t -f value name").await.unwrap(), "build-7\n");
    assert_eq!(played.run("settings get colour").await.unwrap_err().code(), 10);
    assert_eq!(played.run("settings set name x").await.unwrap_err().code(), 11);
    played.run("settings reset name").await.unwrap();
    assert!(played.run("log-level debug --for 60").await.unwrap().starts_with("Logging debug for 1 min\n"));
    assert_eq!(played.run("log-level").await.unwrap(), "Logging as configured\n");
}
