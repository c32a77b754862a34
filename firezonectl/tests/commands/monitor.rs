//! `monitor`.

use clap::Parser as _;
use firezonectl::{
    args::Args,
    client::Daemon,
    commands::{self, Surroundings},
    failure::Failure,
    output::{Out, Show, Style, render},
};
use zbus::object_server::SignalEmitter;

use crate::{
    connected,
    played::{FakeClient, Mind, Played},
    resources,
};

#[tokio::test]
async fn a_monitor_tells_what_changes_and_ends_when_nobody_reads() {
    struct Reader(Vec<String>, Mind, Option<SignalEmitter<'static>>);

    impl Out for Reader {
        fn show(&mut self, answer: &dyn Show) -> Result<(), Failure> {
            self.0.push(render(answer, &firezonectl::output::Format::Human, true, &Style::default())?);
            if self.0.len() == 2 {
                return Err(Failure::NobodyReads);
            }
            self.1.0.lock().unwrap().status.state = "reconnecting".into();
            let emitter = self.2.take().unwrap();
            tokio::spawn(async move { FakeClient::status_changed(&emitter, 2).await });
            Ok(())
        }

        fn remark(&mut self, _text: &str) {}
    }

    let played = Played::new(connected()).await;
    played.mind.0.lock().unwrap().resources = resources();
    let emitter = SignalEmitter::new(&played.ends[0], dbus_api::PATH).unwrap().to_owned();
    let mut reader = Reader(Vec::new(), played.mind.clone(), Some(emitter));
    let daemon = Daemon::over(&played.ends[1]).await.unwrap();
    let args = Args::try_parse_from(["firezonectl", "monitor"]).unwrap();
    let end = commands::run(&args.command, &mut Surroundings::with(daemon, &mut reader)).await;
    assert_eq!(end.err(), Some(Failure::NobodyReads));
    assert_eq!(reader.0, ["Connected, 3 resources\n", "Reconnecting\n"]);
}
