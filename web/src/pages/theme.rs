//! The light and dark switch: a cookie for a year, then back to where the visitor was.

use crate::frame::Theme;
use crate::shield::cookie;
use crate::site::local_path;
use crate::trouble::{Answer, Trouble};
use crate::visit::Post;
use actix_web::HttpResponse;

pub(crate) async fn set(post: Post) -> Answer {
    let theme = Theme::parse(post.fields.text("theme"));
    let theme = theme.ok_or_else(|| Trouble::Invalid("A theme is auto, light or dark.".to_owned()))?;
    let way = local_path(post.fields.text("next")).unwrap_or("/");
    Ok(HttpResponse::SeeOther()
        .cookie(cookie(&post.visit.site, "theme", theme.as_str().to_owned(), Some(365)))
        .insert_header(("location", way))
        .finish())
}
