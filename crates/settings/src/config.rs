//! The configuration as a whole: all sources merged and checked.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use portal::ApiUrl;

use logging::Filter;
use session::DnsControl;

use crate::{
    args::Args,
    file::{self, ConfigPaths},
    setting::{self, SETTINGS, Setting},
    values::{ConfiguredValue, Problem, Source, Values},
};

/// The valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the portal.
    pub api_url: ApiUrl,
    /// Path of the machine's token, if not the default.
    pub token_path: Option<PathBuf>,
    /// Id of this device, if not derived.
    pub id: Option<String>,
    /// Name of this device, if not the host name.
    pub name: Option<String>,
    /// DNS control of this host.
    pub dns_control: DnsControl,
    /// Whether the Internet resource is enabled at start.
    pub internet_resource: bool,
    /// Log filter.
    pub log_filter: Filter,
    /// How long the tunnel is kept without the portal, if limited.
    pub max_partition_time: Option<Duration>,
    /// Whether the bus must not be served.
    pub no_ipc: bool,
    /// The values and their sources.
    pub(crate) values: Values,
}

/// One setting with its value.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// The definition.
    pub setting: &'static Setting,
    /// The value; empty if none is set and there is no fixed default.
    pub text: &'a str,
    /// Its source; `None` for the default.
    pub source: Option<&'a Source>,
}

/// All problems of the configuration, each with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidConfig(Vec<Problem>);

impl Config {
    /// Loads the configuration. `environment` returns the variables of this process.
    ///
    /// # Errors
    /// A file cannot be read, or a value is invalid. All problems are listed.
    pub fn load(
        args: &Args,
        environment: impl Fn(&'static str) -> Option<OsString>,
        places: &ConfigPaths,
    ) -> Result<Self, InvalidConfig> {
        let (mut values, mut problems) = (Values::new(), Vec::new());
        file::read_all(places, &mut values, &mut problems);
        for setting in &SETTINGS {
            let configured = match args.setting(setting.key) {
                Some(text) => Ok(Some((Source::Argument(setting.flag), text))),
                None => variable(&environment, setting.variable)
                    .map(|text| text.map(|text| (Source::Variable(setting.variable), text))),
            };
            match configured
                .and_then(|value| value.map_or(Ok(None), |(source, text)| check(setting, source, text).map(Some)))
            {
                Ok(Some(value)) => {
                    values.insert(setting.key, value);
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        // The value is only validated: there is no telemetry to switch off.
        if let Err(problem) = telemetry(&environment) {
            problems.push(problem);
        }
        if problems.is_empty() { Self::valid(values, args.no_ipc) } else { Err(InvalidConfig(problems)) }
    }

    /// All settings in the order of the manual.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        SETTINGS.iter().map(|setting| {
            let value = self.values.get(setting.key);
            Value {
                setting,
                text: value.map_or(setting.default, |value| value.text.as_str()),
                source: value.map(|value| &value.source),
            }
        })
    }

    /// `values` have been checked.
    fn valid(values: Values, no_ipc: bool) -> Result<Self, InvalidConfig> {
        let text = |key: &str| values.get(key).map(|value| value.text.as_str());
        let or_default = |key: &str| text(key).unwrap_or_else(|| setting::find(key).map_or("", |it| it.default));
        let invalid = |error: portal::InvalidApiUrl| {
            InvalidConfig(vec![Problem { place: "api-url".to_owned(), key: None, what: error.to_string() }])
        };
        Ok(Self {
            api_url: or_default("api-url").parse().map_err(invalid)?,
            token_path: text("token-path").map(PathBuf::from),
            id: text("id").map(str::to_owned),
            name: text("name").map(str::to_owned),
            dns_control: or_default("dns-control").parse().unwrap_or_default(),
            internet_resource: setting::parse_bool(or_default("internet-resource")).unwrap_or_default(),
            log_filter: text("log-filter").and_then(|text| text.parse().ok()).unwrap_or_default(),
            max_partition_time: text("max-partition-time").and_then(setting::parse_duration),
            no_ipc,
            values,
        })
    }
}

impl Value<'_> {
    /// Whether it cannot be changed over the bus.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.setting.change == setting::Change::Never || self.source.is_some_and(Source::locks)
    }
}

/// All problems in one line.
impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidConfig {}

fn check(setting: &Setting, source: Source, text: String) -> Result<ConfiguredValue, Problem> {
    match setting.kind.check(&text) {
        Ok(()) => Ok(ConfiguredValue { text, source }),
        Err(what) => Err(Problem::new(source, None, what)),
    }
}

fn variable(
    environment: &impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, Problem> {
    let Some(value) = environment(name) else { return Ok(None) };
    let value = value
        .into_string()
        .map_err(|_| Problem::new(Source::Variable(name), None, "must be valid UTF-8".to_owned()))?;
    let value = value.trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn telemetry(environment: &impl Fn(&'static str) -> Option<OsString>) -> Result<(), Problem> {
    const NAME: &str = "FIREZONE_NO_TELEMETRY";
    match variable(environment, NAME)? {
        Some(text) => setting::Kind::Bool.check(&text).map_err(|what| Problem::new(Source::Variable(NAME), None, what)),
        None => Ok(()),
    }
}
