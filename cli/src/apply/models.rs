//! Models as a file declares them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Step, windows};
use crate::table;

/// What a model is to be. What is left out stays as it is, or as it is where nobody says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `REPO_ID` or `REPO_ID@REVISION`.
    pub name: String,
    /// Where its files lie on every worker and gateway. It has to be given of one that is not hosted.
    folder: Option<String>,
    dtype: Option<String>,
    device: Option<String>,
    ranks: Option<u32>,
    residency: Option<String>,
    replicas: Option<Replicas>,
    pinned: Option<bool>,
    windows_only: Option<bool>,
    /// All times for which it is booked.
    windows: Option<Vec<windows::Booked>>,
}

/// How many replicas there are to be: both numbers, of which one that is left out is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replicas {
    #[serde(default)]
    min: u64,
    max: Option<u64>,
}

impl Replicas {
    fn text(self) -> String {
        format!("{} to {}", self.min, self.max.map_or_else(|| "any number".into(), |max| max.to_string()))
    }

    fn json(self) -> Value {
        json!({ "min": self.min, "max": self.max })
    }
}

impl Model {
    /// Returns the request that makes it what it is to be, if it is not.
    ///
    /// # Errors
    /// A sentence, for one that is not hosted and that no folder is given for.
    pub fn step(&self, found: Option<&Value>) -> Result<Option<Step>> {
        let (name, null) = (&self.name, Value::Null);
        let there = found.unwrap_or(&null);
        let pinned = self.pinned.or(there["pinned"].as_bool()).unwrap_or(false);
        let had =
            Replicas { min: there["replicas"]["min"].as_u64().unwrap_or(0), max: there["replicas"]["max"].as_u64() };
        let replicas = self.replicas.unwrap_or(had);
        // One that is pinned keeps a replica: what the server makes of it is what it is compared with.
        let replicas = Replicas { min: replicas.min.max(u64::from(pinned)), ..replicas };
        let files = [
            ("folder", self.folder.clone().map(Value::from)),
            ("dtype", self.dtype.clone().map(Value::from)),
            ("device", self.device.clone().map(Value::from)),
            ("ranks", self.ranks.map(Value::from)),
            ("residency", self.residency.clone().map(Value::from)),
        ];
        let given = files.iter().filter_map(|(field, value)| Some((*field, value.as_ref()?)));
        let other: Vec<(&str, &Value)> = given.filter(|(field, value)| there[*field] != **value).collect();
        let mut differ: Vec<String> = other
            .iter()
            .map(|(field, value)| format!("{field} {} -> {}", table::text(&there[*field]), table::text(value)))
            .collect();
        let keeps = found.is_some() && other.is_empty();
        if found.is_none() || replicas != had {
            let before = if found.is_some() { had.text() } else { table::text(&null) };
            differ.push(format!("replicas {before} -> {}", replicas.text()));
        }
        if there["pinned"].as_bool().unwrap_or(false) != pinned {
            differ.push(format!("pinned {} -> {pinned}", !pinned));
        }
        let windows_only = self.windows_only.or(there["windows_only"].as_bool()).unwrap_or(false);
        if there["windows_only"].as_bool().unwrap_or(false) != windows_only {
            differ.push(format!("windows_only {} -> {windows_only}", !windows_only));
        }
        if differ.is_empty() {
            return Ok(None);
        }
        let mut body = Map::from_iter([
            ("replicas".into(), replicas.json()),
            ("pinned".into(), pinned.into()),
            ("windows_only".into(), windows_only.into()),
        ]);
        let path = vec!["models".to_owned(), name.clone()];
        if keeps {
            let what = format!("model {name}: {}", differ.join(", "));
            return Ok(Some(Step { what, method: Method::PATCH, path, body: Some(Value::Object(body)) }));
        }
        // The whole of it is said anew, with what stays.
        for (field, value) in files {
            body.insert(field.into(), value.unwrap_or_else(|| there[field].clone()));
        }
        let folder = || format!("the model {name} is not hosted, and the file gives no folder for it");
        body.get("folder").filter(|folder| folder.is_string()).with_context(folder)?;
        let what = format!("model {name}: {}{}", if found.is_none() { "hosted, " } else { "" }, differ.join(", "));
        Ok(Some(Step { what, method: Method::PUT, path, body: Some(Value::Object(body)) }))
    }

    /// Returns the requests after which it is booked as the file says, if that says anything of it.
    ///
    /// # Errors
    /// When the server's times cannot be read.
    pub fn bookings(&self, found: Option<&Value>) -> Result<Vec<Step>> {
        let Some(wanted) = &self.windows else { return Ok(Vec::new()) };
        let there = found.map(|found| table::list(found, "windows")).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        windows::steps(&self.name, wanted, there, u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(declared: &str, found: Option<&Value>) -> Option<(String, Method, Value)> {
        let model: Model = toml::from_str(declared).unwrap();
        model.step(found).unwrap().map(|step| (step.what, step.method, step.body.unwrap_or_default()))
    }

    fn hosted() -> Value {
        json!({
            "name": "o/n", "folder": "/m", "dtype": "bfloat16", "device": null, "ranks": 2, "residency": null,
            "replicas": { "min": 1, "max": 4, "ready": 1 }, "pinned": true,
        })
    }

    #[test]
    fn a_model_that_is_not_hosted_is_and_needs_a_folder() {
        let (what, method, body) = step("name = 'o/n'\nfolder = '/m'\nreplicas = { max = 2 }", None).unwrap();
        assert_eq!(what, "model o/n: hosted, folder - -> /m, replicas - -> 0 to 2");
        assert_eq!(
            (method, &body["folder"], &body["replicas"]),
            (Method::PUT, &json!("/m"), &json!({ "min": 0, "max": 2 }))
        );
        let model: Model = toml::from_str("name = 'o/n'").unwrap();
        let refused = model.step(None).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused, "the model o/n is not hosted, and the file gives no folder for it");
    }

    #[test]
    fn a_model_that_is_as_the_file_says_is_left_alone() {
        let hosted = hosted();
        for same in [
            "name = 'o/n'",
            "name = 'o/n'\nfolder = '/m'\nreplicas = { min = 1, max = 4 }\npinned = true",
            // It keeps one, since it is pinned.
            "name = 'o/n'\nreplicas = { max = 4 }",
        ] {
            assert_eq!(step(same, Some(&hosted)), None, "{same}");
        }
    }

    #[test]
    fn replicas_and_pins_are_changed_where_it_stands_and_files_anew_with_what_stays() {
        let hosted = hosted();
        let (what, method, body) = step("name = 'o/n'\nreplicas = { min = 2 }\npinned = false", Some(&hosted)).unwrap();
        assert_eq!(what, "model o/n: replicas 1 to 4 -> 2 to any number, pinned true -> false");
        assert_eq!(
            (method, body),
            (Method::PATCH, json!({ "replicas": { "min": 2, "max": null }, "pinned": false, "windows_only": false }))
        );
        let (what, method, body) = step("name = 'o/n'\nfolder = '/other'", Some(&hosted)).unwrap();
        assert_eq!((what.as_str(), method), ("model o/n: folder /m -> /other", Method::PUT));
        let whole = json!({
            "folder": "/other", "dtype": "bfloat16", "device": null, "ranks": 2, "residency": null,
            "replicas": { "min": 1, "max": 4 }, "pinned": true, "windows_only": false,
        });
        assert_eq!(body, whole);
        let (what, method, _) = step("name = 'o/n'\nwindows_only = true", Some(&hosted)).unwrap();
        assert_eq!((what.as_str(), method), ("model o/n: windows_only false -> true", Method::PATCH));
    }
}
