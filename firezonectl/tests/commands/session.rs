//! `sign-out`, `connect`, `disconnect`, `reset`, `wait`.

use crate::{connected, played::Played, resources};

#[tokio::test]
async fn signing_out_can_be_waited_for() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("sign-out").await.unwrap(), "Signing out\n");
    played.mind.0.lock().unwrap().next = Some("signed-out");
    assert_eq!(played.run("sign-out --wait").await.unwrap(), "Signed out\n");
    assert_eq!(played.mind.0.lock().unwrap().asked, ["sign out"; 2]);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("sign-out --wait 5").await.unwrap_err().code(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_may_be_so_already() {
    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    assert_eq!(played.run("wait").await.unwrap(), "Connected\n");
    assert_eq!(played.run("wait --for resource=Wiki").await.unwrap(), "Connected\n");
    assert_eq!(played.run("wait --for signed-out --timeout 5").await.unwrap_err().code(), 7);
}

#[tokio::test]
async fn without_a_kept_token_there_is_nothing_to_connect_with() {
    let played = Played::new(connected()).await;
    assert_eq!(played.run("connect").await.unwrap_err().code(), 10);
    assert_eq!(played.run("disconnect").await.unwrap(), "Signing out\n");
    assert_eq!(played.run("reset").await.unwrap(), "Signing out\n");
}
