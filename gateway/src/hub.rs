//! A read-only mirror of the Hugging Face Hub for the hosted models.
//!
//! A client whose `HF_ENDPOINT` is this gateway builds its models without a hub: it needs the configuration and the
//! tokenizer, and they are given. Weights are not, and nothing outside a model's folder can be named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ids::ModelKey;
use serde_json::{Value, json};

use crate::{Error, Gateway};

/// What a client asks of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `/api/models/{repo}[/revision/{revision}]`
    Info { repo: String, revision: String },
    /// `/api/models/{repo}/tree/{revision}[/{folder}]`
    Tree { repo: String, revision: String, folder: String },
    /// `/{repo}/resolve/{revision}/{file}`
    File { repo: String, revision: String, file: String },
}

impl Ask {
    /// Reads a path, or returns `None` for one that the Hub does not have. A repository is `name` or `owner/name`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let segments: Vec<String> = path.strip_prefix('/')?.split('/').map(decode).collect::<Option<_>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let text = str::to_owned;
        if let ["api", "models", rest @ ..] = segments.as_slice() {
            return Some(match rest {
                [name] => Self::Info { repo: text(name), revision: text("main") },
                [name, "revision", revision] => Self::Info { repo: text(name), revision: text(revision) },
                [name, "tree", revision, folder @ ..] => {
                    Self::Tree { repo: text(name), revision: text(revision), folder: folder.join("/") }
                }
                [owner, name] => Self::Info { repo: format!("{owner}/{name}"), revision: text("main") },
                [owner, name, "revision", revision] => {
                    Self::Info { repo: format!("{owner}/{name}"), revision: text(revision) }
                }
                [owner, name, "tree", revision, folder @ ..] => {
                    Self::Tree { repo: format!("{owner}/{name}"), revision: text(revision), folder: folder.join("/") }
                }
                _ => return None,
            });
        }
        let (repo, revision, file) = match segments.as_slice() {
            [name, "resolve", revision, file @ ..] => (text(name), revision, file),
            [owner, name, "resolve", revision, file @ ..] => (format!("{owner}/{name}"), revision, file),
            _ => return None,
        };
        Some(Self::File { repo, revision: text(revision), file: file.join("/") })
    }

    fn repo(&self) -> &str {
        match self {
            Self::Info { repo, .. } | Self::Tree { repo, .. } | Self::File { repo, .. } => repo,
        }
    }

    fn revision(&self) -> &str {
        match self {
            Self::Info { revision, .. } | Self::Tree { revision, .. } | Self::File { revision, .. } => revision,
        }
    }
}

/// Answers as the Hub does: JSON for what is there, its error codes for what is not.
///
/// # Errors
/// When the stores or the disk fail.
pub async fn answer(gateway: &Gateway, ask: &Ask, method: &Method, headers: &HeaderMap) -> Result<Response, Error> {
    if method != Method::GET && method != Method::HEAD {
        return Ok(refusal(StatusCode::METHOD_NOT_ALLOWED, "NotAllowed", "this mirror of the Hub is read-only"));
    }
    let records = gateway.models.list().await?;
    gateway.hub.keep(records.iter().map(|record| record.folder.as_path()));
    let of_repo = |key: &ModelKey| key.repo_id() == ask.repo();
    if !records.iter().any(|record| of_repo(&record.key)) {
        let text = format!("{} is not hosted here", ask.repo());
        return Ok(refusal(StatusCode::NOT_FOUND, "RepoNotFound", &text));
    }
    let mut commits = Vec::new();
    for record in records.iter().filter(|record| of_repo(&record.key)) {
        let folder = record.folder.clone();
        let hub = gateway.hub.clone();
        let repo = tokio::task::spawn_blocking(move || hub.repo(&folder)).await.map_err(Error::internal)?;
        let repo = repo.map_err(Error::internal)?;
        // A client asks by name first and by the commit that it was told from then on.
        if record.key == ModelKey::new(ask.repo(), Some(ask.revision().to_owned())) || repo.commit == ask.revision() {
            return Ok(repo.answer(ask, method, headers));
        }
        commits.push(repo.commit.clone());
    }
    let text = format!("{} is not hosted here at revision {}", ask.repo(), ask.revision());
    Ok(refusal(StatusCode::NOT_FOUND, "RevisionNotFound", &text))
}

/// The files of the hosted models, kept until they change on disk.
#[derive(Clone, Default)]
pub struct Hub {
    repos: Arc<Mutex<Repos>>,
    /// Held by who reads a folder: whoever else wants one meanwhile waits, and finds it read, in place of holding it again.
    reading: Arc<Mutex<()>>,
}

/// What is served of each folder, with the stamp that it was read at.
type Repos = HashMap<PathBuf, (Stamp, Arc<Repo>)>;

/// What a folder's files looked like: names, lengths, times.
type Stamp = Vec<(String, u64, Option<SystemTime>)>;

impl Hub {
    /// Returns what is served of a folder. Blocks.
    fn repo(&self, folder: &Path) -> std::io::Result<Arc<Repo>> {
        let stamp = stamp(folder)?;
        if let Some(repo) = self.known(folder, &stamp) {
            return Ok(repo);
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repo) = self.known(folder, &stamp) {
            return Ok(repo);
        }
        let repo = Arc::new(Repo::read(folder, &stamp)?);
        self.repos().insert(folder.to_owned(), (stamp, Arc::clone(&repo)));
        Ok(repo)
    }

    fn known(&self, folder: &Path, stamp: &Stamp) -> Option<Arc<Repo>> {
        self.repos().get(folder).filter(|(read, _)| read == stamp).map(|(_, repo)| Arc::clone(repo))
    }

    /// Forgets all folders but these: those of models that are hosted.
    fn keep<'a>(&self, folders: impl Iterator<Item = &'a Path>) {
        let folders: HashSet<&Path> = folders.collect();
        self.repos().retain(|folder, _| folders.contains(folder.as_path()));
    }

    fn repos(&self) -> MutexGuard<'_, Repos> {
        self.repos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is served of one model.
struct Repo {
    /// 40 hexadecimal digits, as of a git commit; other contents have another.
    commit: String,
    files: BTreeMap<String, File>,
    /// Names of files that are there and not served.
    weights: Vec<String>,
}

struct File {
    etag: String,
    bytes: Bytes,
}

impl Repo {
    /// Longest file that is kept in memory and served; tokenizers have up to some 30 MB.
    const LONGEST: u64 = 64 << 20;

    fn read(folder: &Path, stamp: &Stamp) -> std::io::Result<Self> {
        let mut repo = Self { commit: String::new(), files: BTreeMap::new(), weights: Vec::new() };
        let mut hasher = blake3::Hasher::new();
        for (name, length, _) in stamp {
            match kind(name) {
                Kind::Served if *length <= Self::LONGEST => {
                    let bytes = Bytes::from(std::fs::read(folder.join(name))?);
                    let etag = digits(&blake3::hash(&bytes));
                    hasher.update(name.as_bytes()).update(&[0]).update(etag.as_bytes());
                    repo.files.insert(name.clone(), File { etag, bytes });
                }
                Kind::Weights => repo.weights.push(name.clone()),
                _ => {}
            }
        }
        repo.commit = digits(&hasher.finalize());
        Ok(repo)
    }

    fn answer(&self, ask: &Ask, method: &Method, headers: &HeaderMap) -> Response {
        match ask {
            Ask::Info { repo, .. } => Json(self.info(repo)).into_response(),
            Ask::Tree { folder, .. } if folder.is_empty() => Json(self.tree()).into_response(),
            Ask::Tree { folder, .. } => self.missing(folder),
            Ask::File { repo, file, .. } => match self.files.get(file) {
                Some(found) => self.file(found, method, headers),
                None if self.weights.contains(file) || kind(file) == Kind::Weights => {
                    let text = format!(
                        "the weights of {repo} stay on this server; run your experiment there with remote=True"
                    );
                    // With this code the Hub's client shows the sentence; with others it speaks of the connection.
                    refusal(StatusCode::FORBIDDEN, "GatedRepo", &text)
                }
                None => self.missing(file),
            },
        }
    }

    fn info(&self, repo: &str) -> Value {
        let siblings: Vec<Value> = self.files.keys().map(|name| json!({ "rfilename": name })).collect();
        json!({
            "_id": &self.commit[..24], "id": repo, "modelId": repo, "sha": self.commit, "private": false,
            "disabled": false, "gated": false, "downloads": 0, "likes": 0, "library_name": "transformers",
            "pipeline_tag": "text-generation", "tags": ["transformers", "text-generation"], "siblings": siblings,
        })
    }

    fn tree(&self) -> Value {
        let entries = self.files.iter();
        entries
            .map(|(name, file)| json!({ "type": "file", "path": name, "size": file.bytes.len(), "oid": file.etag }))
            .collect()
    }

    fn file(&self, file: &File, method: &Method, headers: &HeaderMap) -> Response {
        let total = file.bytes.len();
        let start = headers.get(header::RANGE).and_then(|range| resume(range.to_str().ok()?, total));
        let body = file.bytes.slice(start.unwrap_or(0)..);
        let length = body.len();
        // For HEAD the server leaves the body out and keeps the length given here.
        let mut response = Response::new(if method == Method::HEAD { Body::empty() } else { Body::from(body) });
        if let Some(start) = start {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{total}", total - 1);
            insert(response.headers_mut(), header::CONTENT_RANGE.as_str(), &range);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        insert(headers, "etag", &format!("\"{}\"", file.etag));
        insert(headers, "x-repo-commit", &self.commit);
        insert(headers, "accept-ranges", "bytes");
        insert(headers, "content-type", "application/octet-stream");
        response
    }

    fn missing(&self, name: &str) -> Response {
        let mut response = refusal(StatusCode::NOT_FOUND, "EntryNotFound", &format!("there is no file {name}"));
        insert(response.headers_mut(), "x-repo-commit", &self.commit);
        response
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Served,
    Weights,
    Other,
}

/// Tells what a client needs to describe a model, by its name, from what holds its parameters. What else lies in a
/// folder is nobody's business.
fn kind(name: &str) -> Kind {
    const WEIGHTS: [&str; 10] = ["safetensors", "bin", "pt", "pth", "gguf", "ggml", "h5", "msgpack", "onnx", "npz"];
    const SERVED: [&str; 24] = [
        "LICENSE",
        "LICENSE.md",
        "LICENSE.txt",
        "NOTICE",
        "README.md",
        "USE_POLICY.md",
        "added_tokens.json",
        "bpe.codes",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tekken.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    ];
    if SERVED.contains(&name) || name.ends_with(".tiktoken") {
        return Kind::Served;
    }
    // The index names every tensor of weights that are not there to be had.
    let name = name.strip_suffix(".index.json").unwrap_or(name);
    match name.rsplit_once('.') {
        Some((_, extension)) if WEIGHTS.contains(&extension) => Kind::Weights,
        _ => Kind::Other,
    }
}

/// Lists the plain files directly inside a folder, by name.
fn stamp(folder: &Path) -> std::io::Result<Stamp> {
    let roots = roots(folder)?;
    let mut stamp = Stamp::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Where a link leads: the cache of the Hub's own client consists of them. None leads anywhere else.
        let Ok(path) = entry.path().canonicalize() else { continue };
        let Ok(meta) = path.metadata() else { continue };
        if roots.iter().any(|root| path.starts_with(root))
            && let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string())
        {
            stamp.push((name, meta.len(), meta.modified().ok()));
        }
    }
    stamp.sort();
    Ok(stamp)
}

/// Returns the folders that a model's files may lie in: its own and, of one in the cache of the Hub's client
/// (`…/snapshots/{commit}`), the `blobs` that the links of its snapshots lead to.
fn roots(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = folder.canonicalize()?;
    let blobs = folder.parent().filter(|parent| parent.ends_with("snapshots")).and_then(Path::parent);
    let blobs = blobs.map(|cache| cache.join("blobs"));
    Ok([Some(folder), blobs].into_iter().flatten().collect())
}

/// Reads `bytes=N-`, with which a client resumes a download. Other ranges are answered with the whole file.
fn resume(range: &str, total: usize) -> Option<usize> {
    let start = range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    (start < total).then_some(start)
}

fn refusal(status: StatusCode, code: &str, text: &str) -> Response {
    let mut response = (status, Json(json!({ "error": text, "detail": text }))).into_response();
    insert(response.headers_mut(), "x-error-code", code);
    insert(response.headers_mut(), "x-error-message", text);
    response
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // A name out of a request may hold what a header cannot; then the body alone says it.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Returns as many digits as a git hash has, which is what the client expects.
fn digits(hash: &blake3::Hash) -> String {
    hash.to_hex().chars().take(40).collect()
}

/// Undoes percent-encoding; `None` where what comes out is no text, or hides a separator.
fn decode(segment: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(segment).decode_utf8().ok()?;
    Some(text.into_owned()).filter(|text| !text.is_empty() && !text.contains(['\0', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(repo: &str, revision: &str) -> Option<Ask> {
        Some(Ask::Info { repo: repo.into(), revision: revision.into() })
    }

    fn file(repo: &str, file: &str) -> Option<Ask> {
        Some(Ask::File { repo: repo.into(), revision: "main".into(), file: file.into() })
    }

    #[test]
    fn paths_of_the_hub_are_understood() {
        assert_eq!(Ask::parse("/api/models/org/name"), info("org/name", "main"));
        assert_eq!(Ask::parse("/api/models/gpt2"), info("gpt2", "main"));
        assert_eq!(Ask::parse("/api/models/org/name/revision/v1"), info("org/name", "v1"));
        assert_eq!(Ask::parse("/api/models/org/name/revision/refs%2Fpr%2F1"), info("org/name", "refs/pr/1"));
        let tree =
            |folder: &str| Some(Ask::Tree { repo: "o/n".into(), revision: "main".into(), folder: folder.into() });
        assert_eq!(Ask::parse("/api/models/o/n/tree/main"), tree(""));
        assert_eq!(Ask::parse("/api/models/o/n/tree/main/sub/folder"), tree("sub/folder"));
        assert_eq!(Ask::parse("/o/n/resolve/main/config.json"), file("o/n", "config.json"));
        assert_eq!(Ask::parse("/gpt2/resolve/main/a/b.json"), file("gpt2", "a/b.json"));
        for other in [
            "/",
            "",
            "/o",
            "/o/n",
            "/o/n/blob/main/x",
            "/api/datasets/o/n",
            "/o//resolve/main/x",
            "/o/n/resolve/main/x%00",
            "/o/n/resolve/main/%ff",
        ] {
            assert_eq!(Ask::parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_names_listed_in_the_folder_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::create_dir(model.join("sub")).unwrap();
        for name in
            ["model/config.json", "model/model.safetensors", "model/sub/inner.json", "secret.json", "model/run.py"]
        {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let hub = Hub::default();
        let repo = hub.repo(&model).unwrap();
        assert_eq!(repo.files.keys().collect::<Vec<_>>(), ["config.json"]);
        for (name, status) in [
            ("config.json", 200),
            ("model.safetensors", 403),
            ("pytorch_model.bin", 403),
            ("model.safetensors.index.json", 403),
            ("../secret.json", 404),
            ("sub/inner.json", 404),
            ("/etc/passwd", 404),
            ("run.py", 404),
            ("generation_config.json", 404),
        ] {
            let ask = Ask::File { repo: "o/n".into(), revision: "main".into(), file: name.into() };
            let response = repo.answer(&ask, &Method::GET, &HeaderMap::new());
            assert_eq!(response.status(), status, "{name}");
        }
    }

    #[test]
    fn links_are_followed_within_a_model_and_its_cache_and_nowhere_else() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for inner in ["cache/blobs", "cache/snapshots/abc", "other"] {
            std::fs::create_dir_all(at(inner)).unwrap();
        }
        for name in ["cache/blobs/1", "cache/secret.json", "other/tokenizer.json"] {
            std::fs::write(at(name), name).unwrap();
        }
        let snapshot = at("cache/snapshots/abc");
        symlink("../../blobs/1", snapshot.join("config.json")).unwrap();
        symlink("../../secret.json", snapshot.join("vocab.json")).unwrap();
        symlink("/etc/passwd", snapshot.join("merges.txt")).unwrap();
        symlink(at("other/tokenizer.json"), snapshot.join("tokenizer.json")).unwrap();
        symlink("config.json", snapshot.join("generation_config.json")).unwrap();
        for other in ["secrets.json", "notes.txt", "credentials.json"] {
            std::fs::write(snapshot.join(other), "{}").unwrap();
        }
        let repo = Hub::default().repo(&snapshot).unwrap();
        assert_eq!(repo.files.keys().collect::<Vec<_>>(), ["config.json", "generation_config.json"]);
    }

    #[test]
    fn a_changed_file_is_another_commit() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let hub = Hub::default();
        let first = hub.repo(folder.path()).unwrap();
        assert!(Arc::ptr_eq(&first, &hub.repo(folder.path()).unwrap()));
        std::fs::write(folder.path().join("config.json"), "{} ").unwrap();
        let second = hub.repo(folder.path()).unwrap();
        assert_ne!(first.commit, second.commit);
        assert_eq!(second.commit.len(), 40);
    }

    #[test]
    fn however_many_ask_a_folder_is_read_once_and_forgotten_when_its_model_is_hosted_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), vec![b'x'; 4 << 20]).unwrap();
        let (hub, begin) = (Hub::default(), std::sync::Barrier::new(4));
        let read: Vec<Arc<Repo>> = std::thread::scope(|scope| {
            let ask = || {
                begin.wait();
                hub.repo(folder.path()).unwrap()
            };
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(read.iter().all(|repo| Arc::ptr_eq(repo, &read[0])));
        hub.keep([folder.path()].into_iter());
        assert!(Arc::ptr_eq(&hub.repo(folder.path()).unwrap(), &read[0]));
        hub.keep(std::iter::empty());
        assert!(hub.repos().is_empty());
    }

    #[test]
    fn a_download_is_resumed() {
        assert_eq!(resume("bytes=3-", 10), Some(3));
        for other in ["bytes=10-", "bytes=-3", "bytes=1-2", "bytes=", "items=1-"] {
            assert_eq!(resume(other, 10), None);
        }
    }
}
