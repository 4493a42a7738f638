//! The times for which a file has a model booked.

use std::fmt;
use std::time::UNIX_EPOCH;

use anyhow::{Result, anyhow};
use humantime::parse_rfc3339_weak;
use ids::TenantId;
use placement::Window;
use reqwest::Method;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use toml::value::Datetime;

use super::Step;
use crate::table;

/// A time for which a model is to be booked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booked {
    from: Time,
    to: Time,
    #[serde(default)]
    daily: bool,
    #[serde(default = "one")]
    replicas: usize,
    tenant: Option<String>,
}

/// An instant, as it is written, and in milliseconds since 1970.
#[derive(Clone, Debug)]
struct Time {
    text: String,
    millis: u64,
}

fn one() -> usize {
    1
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Written)?;
        let millis = millis(&text).map_err(D::Error::custom)?;
        Ok(Self { text, millis })
    }
}

/// Reads a text, or what TOML itself takes for a time.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-12-03T09:00:00Z")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<String, A::Error> {
        Datetime::deserialize(MapAccessDeserializer::new(map)).map(|time| time.to_string())
    }
}

fn millis(text: &str) -> Result<u64> {
    let time = parse_rfc3339_weak(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| anyhow!("{text} is no time in UTC such as 2026-12-03T09:00:00Z"))
}

/// Returns the requests after which a model is booked for what is wanted and for nothing else, at a time of day. What is wanted
/// for a time that is over is left out: that was had, or it is too late for it.
///
/// # Errors
/// When the server's times cannot be read.
pub fn steps(name: &str, wanted: &[Booked], there: &[Value], now: u64) -> Result<Vec<Step>> {
    let mut others: Vec<(Window, &Value)> = Vec::new();
    for shown in there {
        others.push((read(shown)?, shown));
    }
    let mut missing = Vec::new();
    for booked in wanted {
        let window = booked.window();
        let Some((from, to)) = window.next(now) else { continue };
        let coming = Window { from: whole(from), to: whole(to), ..window };
        match others.iter().position(|(other, _)| *other == coming) {
            Some(place) => drop(others.remove(place)),
            None => missing.push(booked),
        }
    }
    let path = |last: Option<&str>| {
        let path = ["models", name, "windows"].into_iter().chain(last);
        path.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut steps = Vec::new();
    for (_, shown) in others {
        let (id, text) = (table::text(&shown["id"]), |field: &str| table::text(&shown[field]));
        let what = format!("model {name}: window {id}, from {} to {}: taken back", text("from"), text("to"));
        steps.push(Step { what, method: Method::DELETE, path: path(Some(&id)), body: None });
    }
    for Booked { from, to, daily, replicas, tenant } in missing {
        let whose = tenant.as_ref().map_or_else(String::new, |tenant| format!(" for the tenant {tenant}"));
        let when = format!("from {} to {}{}", from.text, to.text, if *daily { " every day" } else { "" });
        let what = format!("model {name}: booked {when}{whose}, {replicas} {}", replicas_named(*replicas));
        let body = json!({ "from": from.text, "to": to.text, "daily": daily, "replicas": replicas, "tenant": tenant });
        steps.push(Step { what, method: Method::POST, path: path(None), body: Some(body) });
    }
    Ok(steps)
}

fn replicas_named(count: usize) -> &'static str {
    if count == 1 { "replica" } else { "replicas" }
}

impl Booked {
    fn window(&self) -> Window {
        Window {
            from: self.from.millis,
            to: self.to.millis,
            daily: self.daily,
            replicas: self.replicas,
            tenant: self.tenant.clone().map(TenantId::new),
        }
    }
}

/// Reads a window as the server shows it: a daily one as it comes next.
fn read(shown: &Value) -> Result<Window> {
    let time = |field: &str| millis(shown[field].as_str().unwrap_or_default());
    Ok(Window {
        from: time("from")?,
        to: time("to")?,
        daily: shown["daily"].as_bool().unwrap_or(false),
        replicas: shown["replicas"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(1),
        tenant: shown["tenant"].as_str().map(TenantId::new),
    })
}

/// Returns the second in which an instant is: that is what a server shows.
fn whole(millis: u64) -> u64 {
    millis / 1000 * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Model {
        windows: Vec<Booked>,
    }

    fn plan(declared: &str, there: &Value, now: &str) -> Vec<String> {
        let model: Model = toml::from_str(declared).unwrap();
        let steps = steps("o/n", &model.windows, there.as_array().unwrap(), millis(now).unwrap()).unwrap();
        steps.into_iter().map(|Step { what, method, path, .. }| format!("{method} {} {what}", path.join("/"))).collect()
    }

    #[test]
    fn what_is_missing_is_booked_what_is_not_named_is_taken_back_and_what_is_there_stays() {
        let declared = "windows = [\
            { from = 2026-12-03T09:00:00Z, to = '2026-12-03T12:00:00Z', replicas = 2, tenant = 'lab' },\
            { from = '2026-12-01T22:00:00Z', to = '2026-12-02T04:00:00Z', daily = true },\
            { from = '2026-11-01T00:00:00Z', to = '2026-11-02T00:00:00Z' }]";
        let now = "2026-12-03T05:00:00Z";
        let booked = [
            "POST models/o/n/windows model o/n: booked from 2026-12-03T09:00:00Z to 2026-12-03T12:00:00Z for the tenant lab, 2 replicas",
            "POST models/o/n/windows model o/n: booked from 2026-12-01T22:00:00Z to 2026-12-02T04:00:00Z every day, 1 replica",
        ];
        assert_eq!(plan(declared, &json!([]), now), booked);
        // A daily one is shown as it comes next.
        let shown = json!([
            { "id": 1, "from": "2026-12-03T22:00:00Z", "to": "2026-12-04T04:00:00Z", "daily": true, "replicas": 1, "tenant": null },
            { "id": 2, "from": "2026-12-03T09:00:00Z", "to": "2026-12-03T12:00:00Z", "daily": false, "replicas": 2, "tenant": "lab" },
        ]);
        assert_eq!(plan(declared, &shown, now), [""; 0]);
        let other = json!([
            { "id": 7, "from": "2026-12-03T09:00:00Z", "to": "2026-12-03T12:00:00Z", "daily": false, "replicas": 2, "tenant": null },
        ]);
        let gone = "DELETE models/o/n/windows/7 model o/n: window 7, from 2026-12-03T09:00:00Z to 2026-12-03T12:00:00Z: taken back";
        assert_eq!(plan(declared, &other, now), [&[gone], &booked[..]].concat());
        assert_eq!(plan("windows = []", &shown, now).len(), 2);
    }

    #[test]
    fn what_is_no_time_is_refused_where_it_is_written() {
        let refused =
            toml::from_str::<Model>("windows = [{ from = 'noon', to = 2026-12-03T12:00:00Z }]").err().unwrap();
        assert!(refused.message().contains("noon is no time in UTC such as"), "{}", refused.message());
        let refused = toml::from_str::<Model>("windows = [{ from = 2026-12-03, to = 2026-12-03T12:00:00+01:00 }]");
        assert!(refused.err().unwrap().message().contains("2026-12-03 is no time"));
    }
}
