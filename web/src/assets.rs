//! The stylesheet, scripts and pictures inside the binary, each under an address that names its content:
//! a browser may keep it for ever, and a new build is a new address.
//!
//! Serves only what is embedded from `static/`; touches no file by a name a visitor gives.

use crate::trouble::{Answer, Trouble};
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use rust_embed::RustEmbed;
use std::collections::BTreeMap;
use std::sync::OnceLock;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Embedded;

struct Asset {
    url: String,
    stamp: String,
    mime: String,
    body: web::Bytes,
}

fn all() -> &'static BTreeMap<String, Asset> {
    static ALL: OnceLock<BTreeMap<String, Asset>> = OnceLock::new();
    ALL.get_or_init(|| {
        Embedded::iter().filter_map(|name| read(&name).map(|a| (name.to_string(), a))).collect()
    })
}

fn read(name: &str) -> Option<Asset> {
    let file = Embedded::get(name)?;
    let stamp: String =
        file.metadata.sha256_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(Asset {
        url: format!("/assets/{stamp}/{name}"),
        stamp,
        mime: file.metadata.mimetype().to_owned(),
        body: web::Bytes::from(file.data.into_owned()),
    })
}

/// The address of an embedded file; an unknown name gives an address that answers 404.
#[must_use]
pub fn url(name: &str) -> &'static str {
    all().get(name).map_or("/assets/missing", |asset| asset.url.as_str())
}

/// `GET /assets/{stamp}/{name}`.
pub(crate) async fn serve(path: web::Path<(String, String)>) -> Answer {
    let (stamp, name) = path.into_inner();
    let asset = all().get(&name).filter(|asset| asset.stamp == stamp).ok_or(Trouble::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type(asset.mime.as_str())
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.body.clone()))
}
