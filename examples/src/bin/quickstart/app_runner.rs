//! What is known of App Runner, beside what was seen here: from its documentation, its event logs
//! and the public list of what its users asked for. Where it does not tell, nothing is claimed.

use std::time::Duration;

use runner_examples::{
    screen::{Line, Stage, Tone},
    words::span,
};

use crate::{numbers::Numbers, place};

pub(crate) fn compare(numbers: &Numbers, stage: &Stage) {
    let own = format!("the app itself starts in {}", span(numbers.app_start));
    let overlap = match numbers.switch {
        Duration::ZERO => "at no time".to_owned(),
        both => span(both),
    };
    let [unwell, poor, crashing] = numbers.failed_deploys;
    let rows = [
        ("", "here".to_owned(), "App Runner"),
        ("first deployment", span(numbers.deploy), "2 to 5 minutes"),
        (
            "a burst on one instance",
            format!("{} refused", numbers.refused_in_burst),
            "429 while others start",
        ),
        ("scaled to", format!("{} of {}", numbers.scaled_to, place::MOST), "25, more on request"),
        ("new version: both answer", overlap, "about a minute of routing"),
        ("never healthy: back after", span(unwell), "15 minutes and more"),
        ("no secret: refused after", span(poor), "2 hours of retries, reported"),
        ("crashes: back after", span(crashing), "15 minutes and more"),
        ("why it failed", "cause and advice".to_owned(), "\"Failed\""),
        ("back to the one before", span(numbers.rollback), "a deployment of its own"),
        ("from zero", span(numbers.wake), "always one instance"),
        ("requests lost", format!("{} of {}", numbers.lost, numbers.requests), "not promised"),
    ];
    stage.say("");
    for (row, (what, here, there)) in rows.into_iter().enumerate() {
        let tone = if row == 0 { Tone::Strong } else { Tone::Plain };
        let line = Line::new().and(tone, what).column(HERE).and(tone, &here);
        stage.say(line.column(THERE).and(tone, there));
    }
    stage.say(Line::new().and(Tone::Faint, &format!("({own})")));
    stage.say("");
}

const HERE: usize = 28;
const THERE: usize = 50;
