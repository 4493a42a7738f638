//! The style and the script of the pages, each under a name that says what is in it, so that browsers keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::Error;

/// One file.
pub struct Asset {
    kind: &'static str,
    text: &'static str,
    /// Where it is.
    pub path: String,
}

pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")));
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("script.js", "text/javascript; charset=utf-8", include_str!("assets/script.js")));
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")));

impl Asset {
    fn new(name: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = blake3::hash(text.as_bytes()).to_hex();
        let (stem, end) = name.split_once('.').unwrap_or((name, ""));
        // No repository of a hub can have an owner of this name.
        Self { kind, text, path: format!("/-/{stem}-{}.{end}", digest.get(..16).unwrap_or_default()) }
    }
}

/// `GET /-/{name}`.
pub async fn serve(Path(name): Path<String>) -> Result<Response, Error> {
    let path = format!("/-/{name}");
    let all = [&STYLE, &SCRIPT, &ICON];
    let found = all.into_iter().find(|asset| asset.path == path).ok_or(Error::NoRoute(path))?;
    let headers = [(header::CONTENT_TYPE, found.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, found.text).into_response())
}
