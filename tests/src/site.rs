//! The site as a browser without scripts uses it: cookies, forms with their token, redirects looked at.

use anyhow::Context as _;
use reqwest::{Client, Response, StatusCode};
use std::collections::BTreeMap;

/// One browser on one site.
#[derive(Debug, Clone)]
pub struct Site {
    base: String,
    http: Client,
    cookies: BTreeMap<String, String>,
}

/// A page with what led to it.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    /// Where a redirect points.
    pub location: Option<String>,
    pub retry_after: Option<String>,
    pub body: String,
}

impl Site {
    #[must_use]
    pub fn new(base: &str, http: Client) -> Self {
        Self { base: base.to_owned(), http, cookies: BTreeMap::new() }
    }

    /// The same browser at another process of the same site.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Page> {
        let asked = self.http.get(format!("{}{path}", self.base)).header("cookie", self.cookie_header());
        let answer = asked.send().await?;
        self.take(answer).await
    }

    /// Opens the page with the form, then sends the form with its tokens.
    pub async fn submit(
        &mut self,
        form: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<Page> {
        let page = self.get(form).await?;
        let token = attribute(&page.body, "name=\"csrf\" value=\"")
            .with_context(|| format!("no form on {form} ({})", page.status))?
            .to_owned();
        let mut url = reqwest::Url::parse("form:///")?;
        url.query_pairs_mut().extend_pairs(fields).append_pair("csrf", &token);
        if let Some(once) = attribute(&page.body, "name=\"once\" value=\"") {
            url.query_pairs_mut().append_pair("once", once);
        }
        let sent = self
            .http
            .post(format!("{}{action}", self.base))
            .header("cookie", self.cookie_header())
            .header("origin", &self.base)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(url.query().unwrap_or_default().to_owned());
        let answer = sent.send().await?;
        self.take(answer).await
    }

    fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    async fn take(&mut self, answer: Response) -> anyhow::Result<Page> {
        for cookie in answer.headers().get_all("set-cookie") {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie without a value")?;
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().map(str::to_owned));
        let location = answer.headers().get("location").map(|value| value.to_str().map(str::to_owned));
        let status = answer.status();
        let (location, retry_after) = (location.transpose()?, retry_after.transpose()?);
        Ok(Page { status, location, retry_after, body: answer.text().await? })
    }
}

/// What follows a marker up to the closing quotation mark.
pub(crate) fn attribute<'a>(page: &'a str, marker: &str) -> Option<&'a str> {
    page.split_once(marker)?.1.split('"').next()
}
