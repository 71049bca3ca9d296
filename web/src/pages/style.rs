//! Every component on one page, for those who change the stylesheet. Development only.

use crate::chart::{Chart, Day};
use crate::format;
use crate::frame::{Frame, Notice, page};
use crate::snippets::Snippets;
use crate::trouble::Answer;
use crate::visit::Visit;
use askama::Template;
use kernel::NanoUsd;

#[derive(Template)]
#[template(path = "style.html")]
struct StylePage {
    frame: Frame,
    bad: Notice,
    chart: Chart,
    snippets: Snippets,
    empty: String,
    amounts: Vec<(&'static str, String)>,
}

pub(crate) async fn show(visit: Visit) -> Answer {
    let days: Vec<Day> = (1..=14_u64)
        .map(|day| Day {
            label: format!("Nov {day}"),
            values: vec![day * 11 % 17, day * 7 % 13, day * 5 % 9, day % 4, day % 3, 1],
            tip: format!("Nov {day}"),
        })
        .collect();
    let sample = NanoUsd::new(1_234_567_891);
    page(&StylePage {
        frame: visit.frame("Style").noting(Some(Notice::good("Something was done."))),
        bad: Notice::bad("Something was not done, and this says what to do next."),
        chart: Chart::stacked(&days, |value| value.to_string()),
        snippets: Snippets::new(&visit.site.api_base, None, "author/model"),
        empty: String::new(),
        amounts: vec![
            ("exact", format::exact(sample)),
            ("cents", format::cents(sample)),
            ("fine", format::fine(sample)),
            ("spend", format::spend(sample)),
        ],
    })
}
