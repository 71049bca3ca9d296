//! Parts of our messages as blocks of the Messages API.

use super::wire::{Block, Source};
use crate::dialect::WireError;
use crate::model::message::{Part, PartKind};
use base64::Engine as _;

/// The blocks of a content. Empty text is left out: the API refuses empty text blocks.
pub(super) fn blocks(parts: Vec<Part>) -> Result<Vec<Block>, WireError> {
    let mut out = Vec::with_capacity(parts.len());
    for Part { kind, cache_control } in parts {
        match kind {
            PartKind::Text(text) | PartKind::Refusal(text) => {
                if !text.is_empty() {
                    out.push(Block::Text { text, cache_control });
                }
            }
            PartKind::Image { url, detail: _ } => {
                out.push(Block::Image { source: source(&url)?, cache_control })
            }
            PartKind::File { filename, data } => {
                let data = data.ok_or_else(|| WireError::unsupported("files by `file_id`"))?;
                out.push(Block::Document { source: document(&data)?, title: filename, cache_control });
            }
            PartKind::Audio => return Err(WireError::unsupported("audio input")),
            PartKind::Video => return Err(WireError::unsupported("video input")),
        }
    }
    Ok(out)
}

/// A web address stays one; `data:` URLs become their media type and base64 text.
fn source(url: &str) -> Result<Source, WireError> {
    if let Some((media_type, data)) = data_url(url) {
        return Ok(Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() });
    }
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Source::Url { url: url.to_owned() });
    }
    Err(WireError::unsupported("images or files that are neither a web address nor a base64 `data:` URL"))
}

/// Documents: PDF by address or base64; plain text goes as text (the API takes base64 for PDF alone).
fn document(url: &str) -> Result<Source, WireError> {
    let Some((media_type, data)) = data_url(url) else { return source(url) };
    match media_type {
        "application/pdf" => source(url),
        kind if kind.starts_with("text/") || kind == "application/json" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok();
            let data = bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| WireError::unsupported("text files that are not base64 of UTF-8"))?;
            Ok(Source::Text { media_type: "text/plain", data })
        }
        other => Err(WireError::unsupported(format!(
            "files of the type `{}`",
            crate::model::request_error::excerpt(other)
        ))),
    }
}

/// `data:image/png;base64,AAAA` → (`image/png`, `AAAA`).
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (meta, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = meta.strip_suffix(";base64")?;
    Some((media_type.split(';').next().unwrap_or(media_type), data))
}
