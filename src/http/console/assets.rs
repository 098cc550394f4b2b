//! The style sheet, the script and the icon, under names that change with what is in them: a browser keeps them as long as it likes.

use axum::{
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// One file that every page names.
pub struct Asset {
    pub path: String,
    content_type: &'static str,
    text: &'static str,
}

pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("console.css")));
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("console.js")));

pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("console.svg")));

/// Of the hash, in a file's name.
const HASH_CHARS: usize = 16;

impl Asset {
    fn new(extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hash = hash.get(..HASH_CHARS).unwrap_or_default();
        Self { path: format!("/assets/console-{hash}.{extension}"), content_type, text }
    }

    /// It holds no data, and its name is never used for another text.
    pub fn answer(&self) -> Response {
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        let of = HeaderValue::from_static(self.content_type);
        ([(CONTENT_TYPE, of), (CACHE_CONTROL, kept)], self.text).into_response()
    }
}
