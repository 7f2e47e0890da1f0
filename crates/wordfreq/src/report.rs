//! The report of a load test: one HTML page that needs no other file, no network and no script, in light and dark, on paper
//! and on a phone, for eyes and for screen readers. A pure function of the run. Not here: the figures (`run`) and the
//! drawing of charts (`chart`).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use crate::chart::{self, Bars, Drawn, Mark};
use crate::run::{Document, Ending, Fate, Figures, Run};
use wordfreq_pipeline::embedded::Deed;
use wordfreq_pipeline::rows::{csv_cell, escaped};

/// How many documents, activities or changes of alarms a table shows; of the documents, the list that comes with the page
/// has all.
const ROWS_SHOWN: usize = 1000;

/// How many bars a chart has at most, and a histogram always.
const BARS_AT_MOST: f64 = 120.0;
const HISTOGRAM_BARS: u32 = 30;

/// The page.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn html(run: &Run, figures: &Figures, prices: &str) -> anyhow::Result<String> {
    let mut page = String::new();
    let title = format!("Load test: {} documents", figures.documents);
    // Writing to a string cannot fail.
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n",
        include_str!("../assets/report.css")
    )?;
    verdict(&mut page, run, figures)?;
    page.push_str("<nav aria-label=\"Sections\"><ul>");
    for (id, name) in SECTIONS {
        write!(page, "<li><a href=\"#{id}\">{name}</a></li>")?;
    }
    page.push_str("</ul></nav>\n</header>\n<main>\n");
    summary(&mut page, run, figures)?;
    charts(&mut page, run, figures)?;
    costs(&mut page, run, figures, prices)?;
    activities(&mut page, run)?;
    alarms(&mut page, run)?;
    documents(&mut page, run)?;
    page.push_str(
        "</main>\n<footer><p>Every time is of the fleet's clock, since the first arrival. Latency counts from when a document \
         was due until its result was committed.</p></footer>\n</body>\n</html>\n",
    );
    Ok(page)
}

const SECTIONS: [(&str, &str); 7] = [
    ("summary", "Summary"),
    ("fleet", "Queue and fleet"),
    ("documents-done", "Throughput and latency"),
    ("costs", "Costs"),
    ("activities", "Activities"),
    ("alarms", "Alarms"),
    ("documents", "Documents"),
];

/// Text from anyone, for text and for attributes in quotes.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for character in escaped(raw).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

/// As many digits as tell something.
fn shown(seconds: f64) -> String {
    if seconds >= 100.0 { format!("{seconds:.0}") } else { format!("{seconds:.2}") }
}

fn verdict(page: &mut String, run: &Run, figures: &Figures) -> std::fmt::Result {
    let Figures { documents, counted, failed, superseded, unfinished, wrong, .. } = figures;
    if run.is_flawless() {
        let checked = if run.documents.iter().all(|one| one.expected.is_some()) {
            ", each with as many words as it has"
        } else {
            ""
        };
        return writeln!(
            page,
            "<p class=\"verdict\">All {documents} documents were counted{checked}, and the fleet came back to rest after \
             {} s.</p>",
            shown(figures.end_seconds)
        );
    }
    write!(
        page,
        "<p class=\"verdict bad\">Of {documents} documents, {counted} were counted, {wrong} of them wrongly; {failed} failed, \
         {superseded} were replaced by somebody else, {unfinished} were unfinished."
    )?;
    if run.not_put > 0 {
        write!(page, " Of these, {} were never put.", run.not_put)?;
    }
    page.push_str(match run.ending {
        Ending::Rested => "",
        Ending::Timeout => {
            " The time of the test was over before the documents were done and the fleet was back at rest."
        }
        Ending::Stopped => " The test was stopped before its end.",
        Ending::Gone => " The test ended with the <code>wordfreq up</code> that it tested.",
    });
    page.push_str("</p>\n");
    Ok(())
}

fn summary(page: &mut String, run: &Run, figures: &Figures) -> std::fmt::Result {
    page.push_str(
        "<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">Summary</h2>\n<dl class=\"figures\">\n",
    );
    let latency = figures.latency_seconds;
    for (name, value) in [
        ("documents counted", format!("{} of {}", figures.counted, figures.documents)),
        ("latency, median", format!("{} s", shown(latency.p50))),
        ("latency, 95 in 100", format!("{} s", shown(latency.p95))),
        ("latency, 99 in 100", format!("{} s", shown(latency.p99))),
        ("latency, longest", format!("{} s", shown(latency.max))),
        ("most workers in service", figures.max_in_service.to_string()),
        ("launches, terminations", format!("{}, {}", figures.launches, figures.terminations)),
        ("most messages waiting", figures.backlog_peak.to_string()),
        ("instance-hours", format!("{:.3}", figures.instance_hours)),
        ("cost", format!("${:.4}", figures.cost_usd)),
    ] {
        writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    page.push_str("</dl>\n<table>\n<caption>What was run</caption>\n<tbody>\n");
    for (name, value) in &run.what {
        writeln!(page, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", text(name), text(value))?;
    }
    writeln!(
        page,
        "<tr><th scope=\"row\">Latest put</th><td>{} s after it was due</td></tr>\n</tbody>\n</table>\n</section>",
        shown(figures.late_seconds)
    )
}

/// A chart with a name and a description of its own.
fn figure(page: &mut String, id: &str, title: &str, description: &str, svg: &str) -> std::fmt::Result {
    let body = svg.strip_prefix("<svg ").unwrap_or(svg);
    let (title, description) = (text(title), text(description));
    let opened = body.replacen(
        '>',
        &format!("><title id=\"{id}-title\">{title}</title><desc id=\"{id}-text\">{description}</desc>"),
        1,
    );
    writeln!(
        page,
        "<figure>\n<div class=\"wide\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\">\n<svg role=\"img\" \
         aria-labelledby=\"{id}-title {id}-text\" {opened}</div>\n<figcaption>{description}</figcaption>\n</figure>"
    )
}

fn charts(page: &mut String, run: &Run, figures: &Figures) -> anyhow::Result<()> {
    page.push_str("<section aria-labelledby=\"fleet\">\n<h2 id=\"fleet\">Queue and fleet</h2>\n");
    let mark =
        |activity: &crate::run::Activity| Mark { at: activity.at, is_launch: activity.kind == Deed::Launch };
    let marks: Vec<Mark> = run.activities.iter().map(mark).collect();
    let fleet = chart::fleet_svg(&Drawn {
        name: "",
        timeline: &run.timeline,
        marks: &marks,
        high_alarms: &run.high_alarms,
    })?;
    let description = format!(
        "Above, messages that wait, {} at most, and messages in flight. In the middle, how many workers there should be and how \
         many are in service, {} at most; triangles are the {} launches and {} terminations. Below, when each alarm was in \
         ALARM. The tables of activities and alarms have the same as text.",
        figures.backlog_peak, figures.max_in_service, figures.launches, figures.terminations
    );
    figure(page, "fleet-chart", "Queue, workers and alarms over time", &description, &fleet)?;
    page.push_str(
        "</section>\n<section aria-labelledby=\"documents-done\">\n<h2 id=\"documents-done\">Throughput and latency</h2>\n",
    );
    let (bars, width) = throughput(run);
    let most = bars.iter().map(|(.., high)| *high).fold(0.0, f64::max);
    let svg = chart::bars_svg(&Bars { along: "minutes", height: "documents a minute", bars: &bars })?;
    let description = format!(
        "Documents done a minute, over spans of {} s; {most:.0} at most.",
        shown(width.as_secs_f64())
    );
    figure(page, "throughput-chart", "Throughput over time", &description, &svg)?;
    let bars = histogram(run);
    let svg = chart::bars_svg(&Bars { along: "seconds", height: "documents", bars: &bars })?;
    let latency = figures.latency_seconds;
    let description = format!(
        "How many documents took how long from being due until they were counted. Half took no longer than {} s, 95 in 100 no \
         longer than {} s, none longer than {} s.",
        shown(latency.p50),
        shown(latency.p95),
        shown(latency.max)
    );
    figure(page, "latency-chart", "Latencies of the documents", &description, &svg)?;
    page.push_str("</section>\n");
    Ok(())
}

/// Documents done a minute, by minutes; in a short run by shorter spans, in a very long one by longer ones.
fn throughput(run: &Run) -> (Vec<(f64, f64, f64)>, Duration) {
    const MINUTE: f64 = 60.0;
    let end = run.end.as_secs_f64().max(1e-3);
    let width = if end < 10.0 * MINUTE { end / 20.0 } else { MINUTE.max(end / BARS_AT_MOST) };
    let mut counts = vec![0_u64; (end / width).ceil() as usize + 1];
    for one in &run.documents {
        if let Fate::Counted { done, .. } = one.fate {
            let last = counts.len() - 1;
            counts[((done.as_secs_f64() / width) as usize).min(last)] += 1;
        }
    }
    let span = width / MINUTE;
    let bar = |(index, count): (u32, &u64)| {
        let from = f64::from(index) * span;
        (from, from + span, *count as f64 / span)
    };
    ((0..).zip(&counts).map(bar).collect(), Duration::from_secs_f64(width))
}

fn histogram(run: &Run) -> Vec<(f64, f64, f64)> {
    let latencies: Vec<f64> =
        run.documents.iter().filter_map(Document::latency).map(|latency| latency.as_secs_f64()).collect();
    let width = latencies.iter().copied().fold(1e-3, f64::max) / f64::from(HISTOGRAM_BARS);
    let mut counts = vec![0_u64; HISTOGRAM_BARS as usize];
    for latency in latencies {
        counts[((latency / width) as usize).min(HISTOGRAM_BARS as usize - 1)] += 1;
    }
    let bar = |(index, count): (u32, &u64)| {
        let from = f64::from(index) * width;
        (from, from + width, *count as f64)
    };
    (0..).zip(&counts).map(bar).collect()
}

fn costs(page: &mut String, run: &Run, figures: &Figures, prices: &str) -> std::fmt::Result {
    let each = |usd: f64| usd / figures.counted.max(1) as f64 * 1e6;
    writeln!(
        page,
        "<section aria-labelledby=\"costs\">\n<h2 id=\"costs\">Costs</h2>\n<table>\n<caption>What this load would have cost on \
         AWS, by the prices of {}; instances are {}, each paid for a minute at least</caption>\n\
         <thead><tr><th scope=\"col\">By</th><th scope=\"col\" class=\"n\">this load</th><th scope=\"col\" class=\"n\">a \
         million such documents</th></tr></thead>\n<tbody>\n\
         <tr><th scope=\"row\">this fleet, {:.3} instance-hours, and requests</th><td class=\"n\">${:.4}</td><td \
         class=\"n\">${:.2}</td></tr>\n\
         <tr><th scope=\"row\">Lambda functions for the same work, and requests</th><td class=\"n\">${:.4}</td><td \
         class=\"n\">${:.2}</td></tr>\n</tbody>\n</table>\n</section>",
        text(prices),
        text(&run.instance_type),
        figures.instance_hours,
        figures.cost_usd,
        each(figures.cost_usd),
        figures.lambda_usd,
        each(figures.lambda_usd),
    )
}

/// Begins a table that may be wide and long; can be scrolled by keyboard.
fn open_table(page: &mut String, id: &str, caption: &str, columns: &[(&str, &str)]) -> std::fmt::Result {
    write!(
        page,
        "<div class=\"wide long\" role=\"region\" aria-labelledby=\"{id}-caption\" tabindex=\"0\">\n<table>\n\
         <caption id=\"{id}-caption\">{caption}</caption>\n<thead><tr>"
    )?;
    for (name, class) in columns {
        write!(page, "<th scope=\"col\" class=\"{class}\">{name}</th>")?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    Ok(())
}

fn counted_caption(what: &str, number: usize) -> String {
    if number > ROWS_SHOWN {
        format!("The first {ROWS_SHOWN} of {number} {what}")
    } else {
        format!("{number} {what}")
    }
}

fn activities(page: &mut String, run: &Run) -> std::fmt::Result {
    page.push_str("<section aria-labelledby=\"activities\">\n<h2 id=\"activities\">Activities</h2>\n");
    let caption = counted_caption("launches and terminations since the first arrival", run.activities.len());
    let columns = [("at, s", "n"), ("done, s", "n"), ("activity", ""), ("instance", ""), ("cause", "")];
    open_table(page, "activity", &caption, &columns)?;
    for activity in run.activities.iter().take(ROWS_SHOWN) {
        writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"word\">{}</td><td class=\"word\">{}</td>\
             <td class=\"text\">{}</td></tr>",
            seconds(activity.at),
            activity.ended.map_or_else(|| "-".to_owned(), seconds),
            activity.kind.as_str(),
            text(&activity.instance),
            text(&activity.cause)
        )?;
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
    Ok(())
}

fn alarms(page: &mut String, run: &Run) -> std::fmt::Result {
    page.push_str("<section aria-labelledby=\"alarms\">\n<h2 id=\"alarms\">Alarms</h2>\n");
    if run.rules.is_empty() {
        page.push_str("<p>This fleet has no alarms.</p>\n</section>\n");
        return Ok(());
    }
    page.push_str("<ul>\n");
    for rule in &run.rules {
        writeln!(page, "<li>{}</li>", text(rule))?;
    }
    page.push_str("</ul>\n");
    let caption = counted_caption("changes of alarms since the first arrival", run.transitions.len());
    let columns = [("at, s", "n"), ("alarm", ""), ("state", ""), ("datapoint", "n"), ("reason", "")];
    open_table(page, "alarm", &caption, &columns)?;
    for transition in run.transitions.iter().take(ROWS_SHOWN) {
        writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"word\">{}</td><td class=\"word\">{}</td><td class=\"n\">{}</td>\
             <td class=\"text\">{}</td></tr>",
            seconds(transition.at),
            text(&transition.alarm),
            text(&transition.to),
            transition.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}")),
            text(&transition.reason)
        )?;
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
    Ok(())
}

fn documents(page: &mut String, run: &Run) -> anyhow::Result<()> {
    page.push_str("<section aria-labelledby=\"documents\">\n<h2 id=\"documents\">Documents</h2>\n");
    let mut list = Vec::new();
    csv(&mut list, &run.documents)?;
    writeln!(
        page,
        "<p><a download=\"documents.csv\" href=\"data:text/csv;charset=utf-8,{}\">What became of every document that was put, as \
         CSV</a> (it is in this page).</p>",
        percent_encoded(&list)
    )?;
    let has_trouble = |one: &&Document| one.trouble().is_some();
    let troubled = run.documents.iter().filter(has_trouble);
    let shown = troubled.chain(run.documents.iter().filter(|one| !has_trouble(one))).take(ROWS_SHOWN);
    let what = "documents, in the order of their arrivals, those first that something is the matter with";
    let caption = counted_caption(what, run.documents.len());
    let columns = [
        ("number", "n"),
        ("key", ""),
        ("arrival, s", "n"),
        ("done, s", "n"),
        ("latency, s", "n"),
        ("words", "n"),
        ("state", ""),
    ];
    open_table(page, "document", &caption, &columns)?;
    for one in shown {
        let missing = || "-".to_owned();
        let words = match one.fate {
            Fate::Counted { words, .. } => words.to_string(),
            _ => missing(),
        };
        let state = match one.trouble() {
            None => "<td>counted</td>".to_owned(),
            Some(trouble) => format!("<td class=\"bad\">{}</td>", text(&trouble)),
        };
        writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{words}</td>{state}</tr>",
            one.number,
            text(&one.key),
            seconds(one.arrival),
            done(&one.fate).map_or_else(missing, seconds),
            one.latency().map_or_else(missing, seconds),
        )?;
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
    Ok(())
}

fn done(fate: &Fate) -> Option<Duration> {
    match fate {
        Fate::Counted { done, .. } | Fate::Failed { done, .. } => Some(*done),
        Fate::Superseded | Fate::Unfinished => None,
    }
}

/// What became of every document, as CSV.
///
/// # Errors
/// Those of `out`.
pub fn csv(out: &mut dyn io::Write, documents: &[Document]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "number",
        "key",
        "arrival_s",
        "put_s",
        "done_s",
        "latency_s",
        "state",
        "words",
        "expected_words",
        "reason",
    ])?;
    let exact = |time: Duration| format!("{:.3}", time.as_secs_f64());
    let maybe = |time: Option<Duration>| time.map(exact).unwrap_or_default();
    for one in documents {
        let (state, words, reason) = match &one.fate {
            Fate::Counted { words, .. } => ("counted", words.to_string(), Cow::Borrowed("")),
            Fate::Failed { reason, .. } => ("failed", String::new(), csv_cell(reason, false)),
            Fate::Superseded => ("superseded", String::new(), Cow::Borrowed("")),
            Fate::Unfinished => ("unfinished", String::new(), Cow::Borrowed("")),
        };
        csv.write_record([
            &one.number.to_string(),
            &*csv_cell(&one.key, false),
            &exact(one.arrival),
            &exact(one.put),
            &maybe(done(&one.fate)),
            &maybe(one.latency()),
            state,
            &words,
            &one.expected.map(|words| words.to_string()).unwrap_or_default(),
            &*reason,
        ])?;
    }
    csv.flush()?;
    Ok(())
}

/// As a URL has it, with as little as possible spelt out.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len() + bytes.len() / 8);
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b',' | b'.' | b'/' | b'-' | b'_' | b':' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::Prices;
    use crate::run::tests::made_up;

    fn page(run: &Run) -> String {
        html(run, &run.figures(&Prices::built_in().unwrap(), 0.01), "2026-07-20").unwrap()
    }

    #[test]
    fn the_page_needs_nothing_and_says_everything() {
        let page = page(&made_up());
        for outside in ["<script", "<link", "<img", "@import", "url(", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
        // The only addresses are the name space of SVG, anchors and the list inside the page.
        let without = page
            .replace("http://www.w3.org/2000/svg", "")
            .replace("href=\"#", "")
            .replace("href=\"data:", "");
        assert!(!without.contains("http") && !without.contains("href="));
        for said in [
            "<html lang=\"en\">",
            "Of 6 documents, 3 were counted, 1 of them wrongly; 1 failed",
            "wrong: 99 words were counted, and it has 100",
            "<title id=\"fleet-chart-title\">",
            "<desc id=\"latency-chart-text\">",
            "backlog-high",
            "load/1/00000005.txt",
            "<caption",
            "Terminate",
        ] {
            assert!(page.contains(said), "{said}");
        }
        for (open, close) in [
            ("<table", "</table>"),
            ("<section", "</section>"),
            ("<svg", "</svg>"),
            ("<tr>", "</tr>"),
            ("<td", "</td>"),
        ] {
            assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
        }
    }

    #[test]
    fn hostile_text_is_text() {
        let page = page(&made_up());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("it was &lt;so&gt;."));
        assert!(page.contains("=&lt;i&gt;\\u{1b}]0;\\u{202e}&amp;") && !page.contains('\u{1b}'));
        assert!(page.contains("failed: =cmd &lt;b&gt;&amp;\\u{202e}") && !page.contains('\u{202e}'));
        assert_eq!(text("<a href='x'>&\"\u{1b}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\\u{1b}");
    }

    #[test]
    fn a_flawless_run_is_praised_and_an_empty_one_drawn() {
        let mut run = made_up();
        run.documents.truncate(2);
        assert!(page(&run).contains("All 2 documents were counted, each with as many words as it has"));
        run.ending = Ending::Stopped;
        run.not_put = 4;
        let stopped = page(&run);
        assert!(stopped.contains("4 were unfinished. Of these, 4 were never put. The test was stopped"));
        let empty = Run::default();
        assert!(page(&empty).contains("This fleet has no alarms."));
    }

    #[test]
    fn many_documents_are_shown_in_part_and_listed_in_full() {
        let mut run = made_up();
        let one = run.documents[0].clone();
        run.documents = (0..1500)
            .map(|number| Document { number, key: crate::load::key("load/1/", number), ..one.clone() })
            .collect();
        let page = page(&run);
        assert!(page.contains("The first 1000 of 1500 documents"));
        run.documents[1400].fate = Fate::Failed { done: Duration::ZERO, reason: "why".to_owned() };
        let troubled = tests::page(&run);
        let (bad, first) = ("<td>load/1/00001400.txt</td>", "<td>load/1/00000000.txt</td>");
        assert!(troubled.find(bad).unwrap() < troubled.find(first).unwrap());
        assert!(
            page.contains("<td>load/1/00000999.txt</td>") && !page.contains("<td>load/1/00001000.txt</td>")
        );
        assert!(page.contains("1499,load/1/00001499.txt,0.000,0.250,20.000,20.000,counted,100,100,"));
    }

    #[test]
    fn the_list_has_a_row_for_each_and_runs_no_formula() {
        let mut list = Vec::new();
        csv(&mut list, &made_up().documents).unwrap();
        let list = String::from_utf8(list).unwrap();
        assert_eq!(list.lines().count(), 7);
        assert!(
            list.contains("\n2,load/1/00000002.txt,2.000,2.250,42.000,40.000,counted,99,100,\n"),
            "{list}"
        );
        assert!(list.contains(",failed,,100,'=cmd <b>&"), "{list}");
        assert_eq!(percent_encoded(b"a,\"%\n\xff"), "a,%22%25%0A%FF");
    }

    #[test]
    fn throughput_and_latencies_count_every_document_once() {
        let run = made_up();
        let (bars, width) = throughput(&run);
        let minutes = width.as_secs_f64() / 60.0;
        assert!((bars.iter().map(|(.., high)| high * minutes).sum::<f64>() - 3.0).abs() < 1e-9);
        assert!((histogram(&run).iter().map(|(.., high)| high).sum::<f64>() - 3.0).abs() < 1e-9);
    }
}
