//! What is charged in which case: the table that the gateway decides by, in public.

use crate::frame::{Frame, page};
use crate::trouble::Answer;
use crate::visit::Visit;
use askama::Template;
use billing::outcomes::{ROWS, Row};

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    frame: Frame,
    rows: &'static [Row],
}

impl PolicyPage {
    /// The books' own words are set as code in the documents, and as plain text here.
    fn plain(text: &str) -> String {
        text.replace('`', "")
    }
}

pub(crate) async fn show(visit: Visit) -> Answer {
    page(&PolicyPage { frame: visit.frame("What is charged when"), rows: ROWS })
}
