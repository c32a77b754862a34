use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt as _};

use super::{config::*, file::ConfigPaths, stored::ChangeError, *};

/// The files of one machine.
struct Machine {
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
    args: Args,
}

impl Machine {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new(), args: Args::default() }
    }

    fn with(self, name: &str, content: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn places(&self) -> ConfigPaths {
        let path = |name: &str| self.directory.path().join(name);
        ConfigPaths {
            main: path("firezoned.toml"),
            drop_ins: path("firezoned.toml.d"),
            stored: path("settings.toml"),
            imported: path("advanced_settings.json"),
            owner: rustix::process::geteuid().as_raw(),
        }
    }

    fn load(&self) -> Result<Config, InvalidConfig> {
        let environment =
            |name| self.variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Config::load(&self.args, environment, &self.places())
    }

    fn config(&self) -> Config {
        self.load().unwrap()
    }

    /// The problems, without the directory.
    fn problems(&self) -> String {
        let directory = format!("{}/", self.directory.path().display());
        self.load().unwrap_err().to_string().replace(&directory, "")
    }

    fn change(&self, changes: &[(&str, Option<&str>)]) -> Result<(), ChangeError> {
        let changes = changes.iter().map(|(key, text)| ((*key).to_owned(), text.map(str::to_owned))).collect();
        stored::change(&self.config(), &self.places().stored, &changes)
    }
}

#[test]
fn precedence_is_arguments_environment_drop_ins_file_bus() {
    let mut machine = Machine::new();
    let name = |machine: &Machine| machine.config().name;
    assert_eq!(name(&machine), None);
    machine = machine.with("settings.toml", "name = \"stored\"");
    assert_eq!(name(&machine).as_deref(), Some("stored"));
    machine = machine.with("firezoned.toml", "name = \"file\"");
    assert_eq!(name(&machine).as_deref(), Some("file"));
    machine =
        machine.with("firezoned.toml.d/20.toml", "name = \"later\"").with("firezoned.toml.d/10.toml", "name = \"x\"");
    assert_eq!(name(&machine).as_deref(), Some("later"));
    machine =
        machine.with("firezoned.toml.d/.30.toml", "name = \"hidden\"").with("firezoned.toml.d/40.bak", "name = 7");
    assert_eq!(name(&machine).as_deref(), Some("later"));
    machine = machine.with_variable("FIREZONE_NAME", "said");
    assert_eq!(name(&machine).as_deref(), Some("said"));
    machine.args.firezone_name = Some("typed".to_owned());
    assert_eq!(name(&machine).as_deref(), Some("typed"));
}

#[test]
fn sources_are_named_and_administrator_values_are_locked() {
    let mut machine = Machine::new()
        .with("settings.toml", "name = \"box\"\n")
        .with("firezoned.toml", "# comment\n\ndns-control = \"disabled\"\n")
        .with_variable("RUST_LOG", "debug");
    machine.args.activate_internet_resource = true;
    let config = machine.config();
    let directory = format!("{}/", machine.directory.path().display());
    let seen: Vec<_> = config
        .values()
        .filter_map(|value| {
            let source = value.source?.to_string().replace(&directory, "");
            Some((value.setting.key, value.text.to_owned(), source, value.is_locked()))
        })
        .collect();
    let row = |key, text: &str, source: &str, locked| (key, text.to_owned(), source.to_owned(), locked);
    assert_eq!(
        seen,
        [
            row("name", "box", "settings.toml:1", false),
            row("dns-control", "disabled", "firezoned.toml:3", true),
            row("internet-resource", "true", "--activate-internet-resource", true),
            row("log-filter", "debug", "RUST_LOG", true),
        ]
    );
    let locked: Vec<_> =
        config.values().filter(|it| it.source.is_none() && it.is_locked()).map(|it| it.setting.key).collect();
    assert_eq!(
        locked,
        ["api-url", "auth-url", "account-slug", "token-path", "id"],
        "the bus cannot redirect the daemon to another portal"
    );
}

#[test]
fn portal_of_the_official_client_is_used_until_overridden() {
    let told = r#"{"auth_url":"https://app.example.net/","api_url":"wss://api.example.net/","log_filter":"debug"}"#;
    let mut machine = Machine::new().with("advanced_settings.json", told);
    let said = |machine: &Machine| {
        let config = machine.config();
        let text = |value: Value<'_>| format!("{}={} {}", value.setting.key, value.text, value.is_locked());
        config.values().filter(|value| value.source.is_some()).map(text).collect::<Vec<_>>()
    };
    let elsewhere = ["api-url=wss://api.example.net/ true", "auth-url=https://app.example.net/ true"];
    assert_eq!(said(&machine), [&elsewhere[..], &["log-filter=debug false"]].concat());
    assert_eq!(machine.config().api_url.host(), "api.example.net");

    // A change over the bus takes effect and stores only the changed setting.
    machine.change(&[("log-filter", Some("warn"))]).unwrap();
    assert_eq!(said(&machine), [&elsewhere[..], &["log-filter=warn false"]].concat());
    assert!(!fs::read_to_string(machine.places().stored).unwrap().contains("example.net"));
    machine = machine.with("firezoned.toml", "api-url = \"wss://api.example.org/\"\nauth-url = \"\"\n");
    assert_eq!(said(&machine), ["api-url=wss://api.example.org/ true", "log-filter=warn false"]);
}

#[test]
fn invalid_file_of_the_official_client_is_ignored() {
    for left in [
        "",
        "{",
        "[]",
        r#"{"api_url":"wss://api.example.net/"}"#,
        r#"{"auth_url":"https://app.example.net/","api_url":"ftp://api.example.net/","log_filter":"info"}"#,
        r#"{"auth_url":"https://app.firezone.dev/","api_url":"wss://api.firezone.dev/","log_filter":"info"}"#,
    ] {
        let machine = Machine::new().with("advanced_settings.json", left);
        assert_eq!(machine.config().values().filter(|value| value.source.is_some()).count(), 0, "{left}");
    }
    let told = r#"{"auth_url":"https://app.example.net/","api_url":"wss://api.example.net/","log_filter":""}"#;
    let machine = Machine::new().with("advanced_settings.json", told);
    assert_eq!(machine.config().api_url.host(), "api.example.net");
    fs::set_permissions(machine.places().imported, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(machine.config().api_url.host(), "api.firezone.dev", "any user may have written the file");
}

#[test]
fn problems_name_file_line_and_key() {
    for (content, complaint) in [
        (
            "\napi-url = \"ftp://x\"",
            "firezoned.toml:2: api-url: is not the address of a portal: the scheme must be wss, https, ws or http",
        ),
        ("dns-control = \"magic\"", "firezoned.toml:1: dns-control: must be one of auto, "),
        ("internet-resource = 7", "firezoned.toml:1: internet-resource: must be true or false"),
        ("name = true", "firezoned.toml:1: name: must be a text in quotation marks"),
        ("name = [\"a\"]", "firezoned.toml:1: name: must be a text in quotation marks"),
        ("name = \"a\\u001b[31m\"", "firezoned.toml:1: name: must not have control characters"),
        ("max-partition-time = \"soon\"", "firezoned.toml:1: max-partition-time: must be a time with a unit"),
        ("token-path = \"token\"", "firezoned.toml:1: token-path: must be a path that begins with /"),
        ("log-filter = \"=,=\"", "firezoned.toml:1: log-filter: is not a log filter"),
        ("\n\nnmae = \"x\"", "firezoned.toml:3: nmae: there is no such setting (there are: api-url, "),
        ("token = \"secret\"", "firezoned.toml:1: token: a token has no place here"),
        ("[section]\nname = \"x\"", "firezoned.toml:1: section: there is no such setting"),
        ("name = \"x\"\nname = ", "firezoned.toml:2: "),
        ("name = \"x\"\nname = \"y\"", "firezoned.toml:2: "),
    ] {
        let seen = Machine::new().with("firezoned.toml", content).problems();
        assert!(seen.starts_with(complaint), "{content:?}: {seen}");
        assert!(!seen.contains('\n') && !seen.contains("secret"), "{seen}");
    }
}

#[test]
fn all_problems_are_reported_with_their_variables_and_arguments() {
    let mut machine = Machine::new()
        .with("firezoned.toml.d/1.toml", "x = 1")
        .with_variable("FIREZONE_API_URL", "ftp://example.com")
        .with_variable("FIREZONE_NO_TELEMETRY", "perhaps");
    machine.args.dns_control = Some("magic".to_owned());
    let complaint = machine.problems();
    for part in
        ["firezoned.toml.d/1.toml:1: x: ", "; FIREZONE_API_URL: ", "; --dns-control: ", "; FIREZONE_NO_TELEMETRY: "]
    {
        assert!(complaint.contains(part), "{complaint}");
    }
}

#[test]
fn file_writable_by_others_is_rejected() {
    let machine = Machine::new().with("firezoned.toml", "name = \"x\"");
    let path = machine.places().main;
    for mode in [0o664, 0o646, 0o666, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(machine.problems(), format!("firezoned.toml: others can change it (mode {mode:04o}): chmod 644 it"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(machine.load().is_ok());
    let places = ConfigPaths { owner: machine.places().owner + 1, ..machine.places() };
    let complaint = Config::load(&machine.args, |_| None, &places).unwrap_err().to_string();
    assert!(complaint.contains("chown root it"), "{complaint}");
}

#[test]
fn unusual_files_are_reported() {
    let machine = Machine::new();
    fs::create_dir(machine.places().main).unwrap();
    assert!(machine.problems().starts_with("firezoned.toml: is not a regular file"), "{}", machine.problems());
    let machine = Machine::new().with("firezoned.toml", &"#".repeat((1 << 20) + 1));
    assert_eq!(machine.problems(), "firezoned.toml: is too large");
    let machine = Machine::new().with("firezoned.toml.d", "not a directory");
    assert!(machine.problems().starts_with("firezoned.toml.d: cannot be read"), "{}", machine.problems());
    let machine = Machine::new();
    fs::write(machine.places().main, [0xff, 0xfe]).unwrap();
    assert!(machine.problems().starts_with("firezoned.toml: cannot be read"), "{}", machine.problems());
}

#[test]
fn empty_text_unsets_a_value() {
    let machine = Machine::new()
        .with("firezoned.toml", "name = \"x\"\napi-url = \"wss://api.example.net\"")
        .with("firezoned.toml.d/1.toml", "name = \"\"")
        .with_variable("FIREZONE_API_URL", " ")
        .with_variable("FIREZONE_ID", "");
    let config = machine.config();
    assert_eq!((config.name, config.id), (None, None));
    assert_eq!(config.api_url.host(), "api.example.net");
    assert_eq!(Machine::new().config().api_url.host(), "api.firezone.dev");
}

#[test]
fn booleans_have_several_spellings() {
    for (word, value) in
        [("true", true), ("YES", true), ("On", true), ("1", true), ("false", false), ("0", false), ("", false)]
    {
        let config = Machine::new().with_variable("FIREZONE_ACTIVATE_INTERNET_RESOURCE", word).config();
        assert_eq!(config.internet_resource, value, "{word}");
    }
    assert!(Machine::new().with("firezoned.toml", "internet-resource = true").config().internet_resource);
}

#[test]
fn bus_changes_are_stored_all_or_none() {
    let machine = Machine::new().with("firezoned.toml", "dns-control = \"auto\"");
    machine.change(&[("name", Some(" Kim's \"box\" \\ ☃ ")), ("internet-resource", Some("true"))]).unwrap();
    let config = machine.config();
    assert_eq!(config.name.as_deref(), Some("Kim's \"box\" \\ ☃"));
    assert!(config.internet_resource);

    for (key, text, complaint) in [
        ("sing", Some("x"), "there is no setting \"sing\""),
        ("api-url", Some("wss://evil.example"), "api-url can only be set by the administrator, in a file"),
        ("dns-control", Some("disabled"), "dns-control is locked: it is set by "),
        ("dns-control", None, "dns-control is locked: it is set by "),
        ("log-filter", Some("=,="), "log-filter is not a log filter"),
        ("name", Some("a\nid = \"other\""), "name must not have control characters"),
    ] {
        let error = machine.change(&[("internet-resource", None), (key, text)]).unwrap_err().to_string();
        assert!(error.starts_with(complaint), "{error}");
        assert!(machine.config().internet_resource, "all or nothing");
    }
    machine.change(&[("internet-resource", None)]).unwrap();
    let config = machine.config();
    assert_eq!((config.internet_resource, config.name.as_deref()), (false, Some("Kim's \"box\" \\ ☃")));
    assert_eq!(fs::read_dir(machine.directory.path()).unwrap().count(), 2, "no draft is left behind");
}
