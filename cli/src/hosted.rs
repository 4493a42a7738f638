//! The models that an operator names.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use ids::ModelKey;
use scheduler::HostedModel;
use serde::{Deserialize, Serialize};
use store::{MOST_RANKS, Specification};

use crate::config::Config;
use crate::model::SMOLLM2;

/// A model, and where it is: the value of `--model`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hosted {
    pub key: ModelKey,
    pub folder: PathBuf,
    pub dtype: Option<String>,
    pub device: Option<String>,
    /// Processes that hold it, each a part of its weights.
    pub ranks: u32,
    /// Where its layers are: on the device, or brought when they are used.
    pub residency: Option<String>,
}

impl FromStr for Hosted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repo_id, rest) = text.split_once('=').ok_or("it must have the form REPO_ID=FOLDER")?;
        let (mut folder, mut dtype, mut device, mut ranks, mut residency) = (rest, None, None, None, None);
        while let Some((before, option)) = folder.rsplit_once(',') {
            match option.split_once('=') {
                Some(("dtype", value)) if dtype.is_none() => dtype = Some(value.to_owned()),
                Some(("device", value)) if device.is_none() => device = Some(value.to_owned()),
                Some(("ranks", value)) if ranks.is_none() => ranks = Some(value),
                Some(("residency", value)) if residency.is_none() => residency = Some(value.to_owned()),
                // A folder may have commas in its name.
                _ => break,
            }
            folder = before;
        }
        if repo_id.is_empty() || folder.is_empty() {
            return Err("it must have the form REPO_ID=FOLDER".into());
        }
        let ranks = ranks.map_or(Ok(1), |ranks| {
            ranks.parse::<u32>().map_err(|_| format!("ranks must be a number from 1 to {MOST_RANKS}, not {ranks}"))
        })?;
        let (repo_id, revision) = match repo_id.split_once('@') {
            Some((repo_id, revision)) => (repo_id, Some(revision.to_owned())),
            None => (repo_id, None),
        };
        let (key, folder) = (ModelKey::new(repo_id, revision), PathBuf::from(folder));
        let specification = Specification { dtype, device, ranks, residency, ..Specification::new(key, folder) };
        specification.check()?;
        let Specification { key, folder, dtype, device, residency, .. } = specification;
        Ok(Self { key, folder, dtype, device, ranks, residency })
    }
}

impl TryFrom<String> for Hosted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hosted> for String {
    fn from(hosted: Hosted) -> Self {
        hosted.to_string()
    }
}

impl fmt::Display for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.folder.display())?;
        for (name, value) in [("dtype", &self.dtype), ("device", &self.device), ("residency", &self.residency)] {
            if let Some(value) = value {
                write!(f, ",{name}={value}")?;
            }
        }
        if self.ranks > 1 {
            write!(f, ",ranks={}", self.ranks)?;
        }
        Ok(())
    }
}

/// Looks whether the models that are named are there, each once.
///
/// # Errors
/// A sentence that names the model.
pub fn check(models: &[Hosted]) -> Result<()> {
    check_names(models)?;
    models.iter().try_for_each(check_folder)
}

/// Looks whether each model is named once.
///
/// # Errors
/// A sentence that names the model.
pub fn check_names(models: &[Hosted]) -> Result<()> {
    for (index, hosted) in models.iter().enumerate() {
        if models[..index].iter().any(|before| before.key == hosted.key) {
            bail!("two folders are given for the model {}; name each model once", hosted.key);
        }
    }
    Ok(())
}

/// Returns the models to host, the default one brought here first.
pub async fn models(config: &Config) -> Result<Vec<HostedModel>> {
    let mut models = Vec::new();
    for hosted in &config.models {
        let folder =
            hosted.folder.canonicalize().with_context(|| format!("cannot open {}", hosted.folder.display()))?;
        models.push(HostedModel {
            key: hosted.key.clone(),
            folder,
            dtype: hosted.dtype.clone(),
            device: hosted.device.clone(),
            ranks: hosted.ranks,
            residency: hosted.residency.clone(),
        });
    }
    let default = ModelKey::new(SMOLLM2.repo_id, None);
    if config.default_model && !models.iter().any(|model| model.key == default) {
        let folder = SMOLLM2.folder(&config.data);
        let fetched = folder.clone();
        tokio::task::spawn_blocking(move || SMOLLM2.fetch(&fetched, None)).await??;
        let folder = folder.canonicalize().with_context(|| format!("cannot open {}", folder.display()))?;
        models.push(HostedModel { key: default, folder, dtype: None, device: None, ranks: 1, residency: None });
    }
    if models.is_empty() {
        bail!("no model to host: name one with --model REPO_ID=FOLDER, or leave out --no-default-model");
    }
    Ok(models)
}

/// Says what a model's folder lacks.
///
/// # Errors
/// A sentence that names the folder.
fn check_folder(hosted: &Hosted) -> Result<()> {
    let folder = &hosted.folder;
    if !folder.is_dir() {
        bail!("the folder {} of model {} does not exist", folder.display(), hosted.key);
    }
    if !folder.join("config.json").is_file() {
        bail!(
            "the folder {} of model {} has no config.json; it must hold what the Hugging Face Hub has for the model",
            folder.display(),
            hosted.key
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_repository_and_a_folder() {
        let parse = |text: &str| text.parse::<Hosted>();
        let hosted = |repo: &str, revision: Option<&str>, folder: &str, dtype: Option<&str>| Hosted {
            key: ModelKey::new(repo, revision.map(str::to_owned)),
            folder: folder.into(),
            dtype: dtype.map(str::to_owned),
            device: None,
            ranks: 1,
            residency: None,
        };
        assert_eq!(parse("o/n=/m"), Ok(hosted("o/n", None, "/m", None)));
        assert_eq!(parse("o/n=/m,dtype=bfloat16"), Ok(hosted("o/n", None, "/m", Some("bfloat16"))));
        assert_eq!(parse("o/n=/m,dtype=nf4"), Ok(hosted("o/n", None, "/m", Some("nf4"))));
        assert_eq!(parse("o/n@v1=/a=b"), Ok(hosted("o/n", Some("v1"), "/a=b", None)));
        let placed = |dtype, device: &str| Hosted { device: Some(device.into()), ..hosted("o/n", None, "/m", dtype) };
        assert_eq!(parse("o/n=/m,device=cuda:1"), Ok(placed(None, "cuda:1")));
        assert_eq!(parse("o/n=/m,device=cpu,dtype=float32"), Ok(placed(Some("float32"), "cpu")));
        assert_eq!(parse("o/n=/m,dtype=float32,device=cuda"), Ok(placed(Some("float32"), "cuda")));
        let split = Hosted { ranks: 2, ..placed(None, "cpu") };
        assert_eq!(parse("o/n=/m,ranks=2,device=cpu"), Ok(split.clone()));
        assert_eq!(parse(&split.to_string()), Ok(split));
        let streamed = Hosted { residency: Some("stream".into()), ..placed(None, "cuda") };
        assert_eq!(parse("o/n=/m,residency=stream,device=cuda"), Ok(streamed.clone()));
        assert_eq!(parse(&streamed.to_string()), Ok(streamed));
        for (wrong, why) in [
            ("residency=disk", "residency must be resident or stream, not disk"),
            ("residency=stream,ranks=2", "residency=stream is for a model of one rank; leave ranks out, or residency"),
            (
                "residency=stream,dtype=nf4",
                "residency=stream is for weights as numbers; leave dtype=int8 or nf4 out, or residency",
            ),
        ] {
            assert_eq!(parse(&format!("o/n=/m,{wrong}")).unwrap_err(), why);
        }
        for wrong in ["0", "65", "-1", "two", ""] {
            let expected = format!("ranks must be a number from 1 to 64, not {wrong}");
            assert_eq!(parse(&format!("o/n=/m,ranks={wrong}")).unwrap_err(), expected);
        }
        assert_eq!(parse("o/n=/a,b,dtype=float32"), Ok(hosted("o/n", None, "/a,b", Some("float32"))));
        assert_eq!(parse("o/n=/m,device=gpu").unwrap_err(), "device must be cpu, cuda or cuda:N, not gpu");
        assert_eq!(parse("o/n=/m,device=cuda:x").unwrap_err(), "device must be cpu, cuda or cuda:N, not cuda:x");
        assert_eq!(parse("o/n=/m,dtype=int4").unwrap_err(), "dtype must be float32, bfloat16, int8 or nf4, not int4");
        for bad in ["", "o/n", "o/n=", "=/m"] {
            assert!(parse(bad).unwrap_err().contains("REPO_ID=FOLDER"), "{bad}");
        }
    }
}
