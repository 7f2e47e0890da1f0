//! How the live view looks: a pure function of a [`View`] and a frame.
//!
//! Colour never tells anything by itself: a state has its word, an unhealthy instance its mark, a chart its numbers. Text
//! from anyone is escaped before it is drawn. Not here: what there is to see (`view`).

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use wordfreq_core::scaling::{AlarmState, InstanceState, Moment};
use wordfreq_pipeline::Timestamp;
use wordfreq_pipeline::fleet::{ActivityStatus, Member};
use wordfreq_pipeline::rows::escaped;

use super::samples::{Column, Rates};
use super::view::View;
use crate::output::decimal;

/// The least width of a terminal that everything fits into.
pub const LEAST_WIDTH: u16 = 80;
/// The least height.
pub const LEAST_HEIGHT: u16 = 24;

const HELP: &str = " q quit   left/right or -/+ time span";

/// The newest rates are of so much real time.
const RATES_OVER: Duration = Duration::from_secs(10);

/// The longest real time between two looks of a scaler or of this view, with something to spare.
const LOOKS_EVERY: Duration = Duration::from_secs(120);

/// Colours, or none.
#[derive(Clone, Copy)]
struct Palette(bool);

impl Palette {
    fn of(self, color: Color) -> Style {
        if self.0 { Style::new().fg(color) } else { Style::new() }
    }
}

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if area.width < LEAST_WIDTH || area.height < LEAST_HEIGHT {
        let (width, height) = (area.width, area.height);
        frame.render_widget(
            format!("{width}x{height} is too small: wordfreq top needs {LEAST_WIDTH}x{LEAST_HEIGHT}"),
            area,
        );
        return;
    }
    let events_height = 4 + (area.height - LEAST_HEIGHT) / 4;
    let [title, queue, middle, events, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(events_height),
        Constraint::Length(1),
    ])
    .areas(area);
    let [charts, _, tables] =
        Layout::horizontal([Constraint::Percentage(55), Constraint::Length(1), Constraint::Min(0)])
            .areas(middle);
    let num_alarms = view.fleet.as_ref().map_or(0, |fleet| fleet.state.alarms.len());
    let alarms_height = u16::try_from(1 + 2 * num_alarms.max(1)).unwrap_or(u16::MAX).min(tables.height / 2);
    let [alarms, instances] =
        Layout::vertical([Constraint::Length(alarms_height), Constraint::Min(0)]).areas(tables);

    draw_title(frame, title, view);
    draw_queue(frame, queue, view);
    draw_charts(frame, charts, view);
    draw_alarms(frame, alarms, view);
    draw_instances(frame, instances, view);
    draw_events(frame, events, view);
    let shown = format!("{HELP}   shown: {}", in_words(view.span.length()));
    frame.render_widget(Paragraph::new(shown).style(Modifier::REVERSED), help);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let fleet = match &view.fleet {
        Some(fleet) => {
            let bounds = fleet.state.scheduled.unwrap_or(fleet.bounds);
            let speed = if fleet.scale == 1.0 {
                String::new()
            } else {
                format!(", time {} times as fast", decimal(fleet.scale))
            };
            format!("plan {}, {} to {} instances{speed}", escaped(&fleet.plan), bounds.min, bounds.max)
        }
        None => "no fleet yet".into(),
    };
    let state = if view.up_runs { "up runs" } else { "UP DOES NOT RUN" };
    // What may be long and cut off comes last.
    let title = format!(" wordfreq top   {state}   {fleet}   {}", escaped(&view.directory));
    frame.render_widget(Paragraph::new(title).style(Modifier::REVERSED | Modifier::BOLD), area);
}

fn draw_queue(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let palette = Palette(view.color);
    if let Some(trouble) = &view.trouble {
        let trouble = format!(" cannot look, trying again: {}", escaped(trouble));
        frame.render_widget(Paragraph::new(trouble).style(palette.of(Color::Red)), area);
        return;
    }
    let depth = &view.queue;
    let oldest = depth.oldest_age.map_or("-".to_owned(), in_words);
    let dead = format!("{} dead letters", depth.dead_letters);
    let dead = if depth.dead_letters > 0 {
        Span::styled(dead, palette.of(Color::Red).add_modifier(Modifier::BOLD))
    } else {
        Span::raw(dead)
    };
    let waiting = format!(
        " {} waiting, {} in flight, {} delayed, oldest {oldest}, ",
        depth.visible, depth.in_flight, depth.delayed
    );
    frame.render_widget(Line::from(vec![Span::raw(waiting), dead]), area);
}

/// One chart: its heading, the most rows it may have, its color, and its value in each column.
struct Chart<'a> {
    heading: String,
    color: Color,
    value: &'a dyn Fn(&Column) -> Option<f64>,
    /// Drawn as a line over the bars.
    line: Option<&'a dyn Fn(&Column) -> f64>,
    /// The top of the chart is never lower.
    least_top: f64,
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let scale = view.fleet.as_ref().map_or(1.0, |fleet| fleet.scale);
    let (span, holds) = (view.span.length(), LOOKS_EVERY.mul_f64(scale.max(1.0)));
    let columns = view.samples.columns(view.now, span, holds, area.width.into());
    let newest = view.samples.newest().copied().unwrap_or_default();
    let rates = match view.samples.rates(RATES_OVER.mul_f64(scale)) {
        Some(Rates { sent, received, done }) => {
            format!("done/s {}, sent {}, received {}", rate(done), rate(sent), rate(received))
        }
        None => "done/s: not known yet".into(),
    };
    let charts = [
        Chart {
            heading: format!("backlog: {} waiting", newest.visible),
            color: Color::Cyan,
            value: &|column| Some(column.visible as f64),
            line: None,
            least_top: 1.0,
        },
        Chart {
            heading: format!("in flight: {}", newest.in_flight),
            color: Color::Blue,
            value: &|column| Some(column.in_flight as f64),
            line: None,
            least_top: 1.0,
        },
        Chart {
            heading: format!(
                "workers: {} in service, \u{2501} {} desired",
                newest.in_service, newest.desired
            ),
            color: Color::Green,
            value: &|column| Some(column.in_service as f64),
            line: Some(&|column| column.desired as f64),
            least_top: view.fleet.as_ref().map_or(1.0, |fleet| {
                f64::from(fleet.state.scheduled.unwrap_or(fleet.bounds).max).clamp(1.0, 10.0)
            }),
        },
        Chart {
            heading: rates,
            color: Color::Magenta,
            value: &|column| column.rate,
            line: None,
            least_top: 0.1,
        },
    ];
    let [stack, axis] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let areas: [Rect; 4] = Layout::vertical([
        Constraint::Fill(4),
        Constraint::Fill(3),
        Constraint::Fill(5),
        Constraint::Fill(4),
    ])
    .areas(stack);
    for (chart, area) in charts.iter().zip(areas) {
        draw_chart(frame.buffer_mut(), area, chart, &columns, Palette(view.color));
    }
    let (begin, middle) = (in_words(span), in_words(span / 2));
    let axis_block = format!("{:<width$}now", format!("-{begin}"), width = usize::from(axis.width) - 3);
    frame.render_widget(Paragraph::new(axis_block).style(Modifier::DIM), axis);
    frame.render_widget(Paragraph::new(format!("-{middle}")).centered().style(Modifier::DIM), axis);
}

fn draw_chart(
    buffer: &mut Buffer,
    area: Rect,
    chart: &Chart<'_>,
    columns: &[Option<Column>],
    palette: Palette,
) {
    let [heading, plot] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let seen = || columns.iter().flatten();
    let most = seen().filter_map(chart.value).fold(0.0, f64::max);
    let lines = || seen().filter_map(|column| chart.line.map(|line| line(column)));
    let top = lines().fold(most, f64::max).max(chart.least_top);
    let most = format!("most {}", decimal((most * 10.0).round() / 10.0));
    let room = usize::from(area.width).saturating_sub(most.len());
    let text = format!("{:<room$.cut$}{most}", chart.heading, cut = room.saturating_sub(1));
    buffer.set_stringn(heading.x, heading.y, text, heading.width.into(), Modifier::BOLD);

    let (height, style) = (plot.height, palette.of(chart.color));
    let eighths = |value: f64| (value / top * f64::from(height) * 8.0).ceil() as u16;
    for (x, column) in (plot.x..).zip(columns) {
        let value = column.as_ref().and_then(chart.value);
        for from_bottom in 0..height {
            let position = (x, plot.bottom() - 1 - from_bottom);
            let Some(value) = value else {
                if from_bottom == 0 {
                    // Nobody looked then.
                    buffer[position].set_symbol("\u{b7}").set_style(Modifier::DIM);
                }
                continue;
            };
            let filled = eighths(value).saturating_sub(from_bottom * 8).min(8);
            buffer[position].set_symbol(eighth(filled)).set_style(style);
        }
        if let (Some(line), Some(column)) = (chart.line, column) {
            let row = eighths(line(column)).saturating_sub(1) / 8;
            let position = (x, plot.bottom().saturating_sub(1 + row));
            buffer[position].set_symbol("\u{2501}").set_style(palette.of(Color::Yellow));
        }
    }
}

fn eighth(filled: u16) -> &'static str {
    [
        bar::NINE_LEVELS.empty,
        bar::ONE_EIGHTH,
        bar::ONE_QUARTER,
        bar::THREE_EIGHTHS,
        bar::HALF,
        bar::FIVE_EIGHTHS,
        bar::THREE_QUARTERS,
        bar::SEVEN_EIGHTHS,
        bar::FULL,
    ][usize::from(filled)]
}

fn section(title: &'static str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Line::from(title).style(Modifier::BOLD))
}

fn draw_alarms(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let palette = Palette(view.color);
    let fleet = view.fleet.iter();
    let mut lines: Vec<Line<'_>> = fleet
        .flat_map(|fleet| fleet.rules.iter().zip(&fleet.state.alarms))
        .flat_map(|(rule, status)| {
            let style = match status.state {
                AlarmState::Alarm => palette.of(Color::Red).add_modifier(Modifier::BOLD),
                AlarmState::Ok => palette.of(Color::Green),
                AlarmState::InsufficientData => palette.of(Color::Yellow),
            };
            let state = Span::styled(status.state.as_str(), style);
            let value = status.value.map_or("no value".to_owned(), decimal);
            let since = status.since.map_or(String::new(), |since| format!(" since {}", clock(since)));
            let rule =
                format!("  {value} / {}{since}  {}", decimal(rule.threshold), escaped(&rule.condition));
            [
                Line::from(vec![state, Span::raw(" "), Span::raw(escaped(&status.name).into_owned())]),
                Line::from(rule),
            ]
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::from("none"));
    }
    frame.render_widget(Paragraph::new(lines).block(section("alarms: value / threshold ")), area);
}

/// The end of a name, by which those launched at about the same time differ.
fn end_of(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(length + 1 - width.max(1))).collect()
}

fn draw_instances(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let palette = Palette(view.color);
    let wide = area.width >= 60;
    // What is left of the narrow table's other columns and gaps.
    let id_width = if wide { usize::MAX } else { usize::from(area.width).saturating_sub(13 + 4 + 6 + 3) };
    let room = usize::from(area.height.saturating_sub(2));
    // The last line tells of those that have none.
    let shown = if view.members.len() > room { room.saturating_sub(1) } else { view.members.len() };
    let mut rows: Vec<Row<'_>> = view.members[..shown]
        .iter()
        .map(|Member { instance, process, held, documents, note, .. }| {
            let (mark, color) = match (instance.healthy, instance.state) {
                (false, _) => (" !", Color::Red),
                (true, InstanceState::InService) => ("", Color::Green),
                (true, _) => ("", Color::Yellow),
            };
            let mut cells = vec![
                Cell::from(end_of(&escaped(&instance.id), id_width)),
                Cell::from(format!("{}{mark}", instance.state)).style(palette.of(color)),
                Cell::from(Line::from(held.to_string()).right_aligned()),
                Cell::from(Line::from(documents.to_string()).right_aligned()),
            ];
            if wide {
                let process = process.map_or("-".to_owned(), |process| process.to_string());
                cells.push(Cell::from(Line::from(process).right_aligned()));
                cells.push(Cell::from(instance.in_service_at.map_or("-".to_owned(), clock)));
                cells.push(Cell::from(note.as_deref().map(escaped).unwrap_or_default()));
            }
            Row::new(cells)
        })
        .collect();
    if shown < view.members.len() {
        rows.push(Row::new([format!("+{} more", view.members.len() - shown)]));
    }
    let right = |text: &'static str| Cell::from(Line::from(text).right_aligned());
    let mut header = vec![Cell::from("id"), Cell::from("state"), right("held"), right("docs")];
    let mut widths =
        vec![Constraint::Fill(1), Constraint::Length(13), Constraint::Length(4), Constraint::Length(6)];
    if wide {
        header.extend([right("process"), Cell::from("since"), Cell::from("note")]);
        widths.extend([Constraint::Length(8), Constraint::Length(8), Constraint::Fill(2)]);
    }
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Modifier::DIM))
        .block(section("instances: ! is unhealthy "));
    frame.render_widget(table, area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let palette = Palette(view.color);
    let activities = view.activities.iter().map(|kept| {
        let color = match kept.status {
            ActivityStatus::InProgress => Color::Yellow,
            ActivityStatus::Successful => Color::Green,
            ActivityStatus::Failed => Color::Red,
        };
        let activity = &kept.activity;
        let message = activity.message.as_deref().unwrap_or(&activity.cause);
        (activity.at, kept.status.as_str(), color, format!("{}: {message}", activity.description))
    });
    let transitions = view.transitions.iter().map(|transition| {
        let color = if transition.to == AlarmState::Alarm { Color::Red } else { Color::Green };
        let text = format!("{} was {}: {}", transition.alarm, transition.from, transition.reason);
        (transition.at, transition.to.as_str(), color, text)
    });
    let mut events: Vec<_> = activities.chain(transitions).collect();
    // Stable, so that those of one moment stay in their order.
    events.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let lines: Vec<Line<'_>> = events
        .into_iter()
        .take(area.height.into())
        .map(|(at, state, color, text)| {
            Line::from(vec![
                Span::styled(clock(at), Modifier::DIM),
                Span::raw(" "),
                Span::styled(format!("{state:<10}"), palette.of(color)),
                Span::raw(" "),
                Span::raw(escaped(&text).into_owned()),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(section("activities and changes of alarms ")), area);
}

/// As many digits as there is room for.
fn rate(each_second: f64) -> String {
    if each_second < 100.0 { format!("{each_second:.1}") } else { format!("{each_second:.0}") }
}

/// The time of day, UTC.
fn clock(moment: Moment) -> String {
    let time = humantime::format_rfc3339_seconds(Timestamp::from(moment).into()).to_string();
    time.get(11..19).unwrap_or(&time).to_owned()
}

/// Whole seconds, with the two greatest units at most.
fn in_words(time: Duration) -> String {
    let words = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    words.split(' ').take(2).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use wordfreq_core::scaling::{AlarmStatus, AlarmTransition, Bounds, ScalerState};
    use wordfreq_pipeline::embedded::{AlarmRule, Deed, KeptActivity, NewActivity, Sizing, Throughput};
    use wordfreq_pipeline::queue::Depth;

    use super::super::samples::{Sample, Samples};
    use super::super::view::Spans;
    use super::*;

    /// 2027-01-15T08:00:00Z
    const START: Moment = Moment::from_secs(1_800_000_000);

    fn at(seconds: u64) -> Moment {
        START + Duration::from_secs(seconds)
    }

    fn fleet() -> Sizing {
        let alarm = |state, value| AlarmStatus {
            name: "backlog-high\x1b[2J".into(),
            state,
            since: Some(at(60)),
            reason: String::new(),
            value,
            called: None,
        };
        let rule = AlarmRule {
            name: "backlog-high".into(),
            metric: "ApproximateNumberOfMessagesVisible".into(),
            threshold: 50.0,
            is_upper: true,
            condition: "Average over 50".into(),
        };
        Sizing {
            plan: "classic".into(),
            bounds: Bounds { min: 1, max: 4 },
            rules: vec![rule.clone(), rule],
            state: ScalerState {
                desired: 3,
                scheduled: None,
                ticked: START,
                alarms: vec![
                    alarm(AlarmState::Alarm, Some(126.456)),
                    alarm(AlarmState::InsufficientData, None),
                ],
                scale_outs: Vec::new(),
                cooldown: None,
                changes: Vec::new(),
            },
            service: None,
            at: at(300),
            wall: 0,
            scale: 1.0,
        }
    }

    fn view() -> View {
        let mut samples = Samples::default();
        for (seconds, visible, in_service, desired) in
            [(150, 40, 1, 1), (200, 80, 1, 4), (250, 20, 4, 3), (300, 8, 3, 3)]
        {
            let passed = Some(Throughput { sent: 100, received: 125, deleted: 150 });
            samples.push(Sample { at: at(seconds), visible, in_flight: 2, in_service, desired, passed });
        }
        let mut ill = Member::pending("w-2\t".into(), at(200));
        (ill.instance.healthy, ill.note, ill.held) = (false, Some("its process ended".into()), 7);
        let mut well = Member::pending("w-1".into(), START);
        (well.instance.state, well.documents) = (InstanceState::InService, 1234);
        let activity = NewActivity {
            at: at(200),
            instance: "w-2".into(),
            kind: Deed::Launch,
            description: "Launching a new instance: w-2".into(),
            cause: "At 08:03 it was so.".into(),
            message: None,
        };
        let transition = AlarmTransition {
            at: at(260),
            alarm: "backlog-high".into(),
            from: AlarmState::Ok,
            to: AlarmState::Alarm,
            reason: "Threshold \u{202e}Crossed".into(),
            value: None,
        };
        View {
            directory: "./data\x07".into(),
            up_runs: true,
            now: at(300),
            span: Spans::default(),
            color: false,
            trouble: None,
            fleet: Some(fleet()),
            queue: Depth {
                visible: 8,
                in_flight: 2,
                delayed: 1,
                oldest_age: Some(Duration::from_millis(3_725_900)),
                dead_letters: 5,
            },
            members: vec![well, ill],
            activities: vec![KeptActivity { activity, ended_at: None, status: ActivityStatus::InProgress }],
            transitions: vec![transition],
            samples,
        }
    }

    fn buffer(view: &View, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let buffer = buffer(view, width, height);
        let line = |y| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
        (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn everything_fits_the_least_terminal() {
        let expected = [
            " wordfreq top   up runs   plan classic, 1 to 4 instances   ./data\\u{7}",
            " 8 waiting, 2 in flight, 1 delayed, oldest 1h2m, 5 dead letters",
            "backlog: 8 waiting                   most 80 alarms: value / threshold ─────────",
            "                             ████████        ALARM backlog-high\\u{1b}[2J",
            "                      ▄▄▄▄▄▄▄████████          126.46 / 50 since 08:01:00  Avera",
            "······················███████████████▆▆▆▆▆▆▆ INSUFFICIENT_DATA backlog-high\\u{1b",
            "in flight: 2                          most 2   no value / 50 since 08:01:00  Ave",
            "                      ██████████████████████ instances: ! is unhealthy ─────────",
            "······················██████████████████████ id        state         held   docs",
            "workers: 3 in service, ━ 3 desired    most 4 w-1       InService        0   1234",
            "                             ━━━━━━━━███████ w-2\\t     Pending !        7      0",
            "                                    █━━━━━━━",
            "                                    ████████",
            "······················━━━━━━━███████████████",
            "done/s 3.0, sent 2.0, received 2.5    most 3",
            "                      ██████████████████████",
            "                      ██████████████████████",
            "······················██████████████████████",
            "-5m                -2m30s                now",
            "activities and changes of alarms ───────────────────────────────────────────────",
            "08:04:20 ALARM      backlog-high was OK: Threshold \\u{202e}Crossed",
            "08:03:20 InProgress Launching a new instance: w-2: At 08:03 it was so.",
            "",
            " q quit   left/right or -/+ time span   shown: 5m",
        ];
        assert_eq!(drawn(&view(), LEAST_WIDTH, LEAST_HEIGHT).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_large_terminal_shows_more_of_each_instance() {
        let drawn = drawn(&view(), 180, 50);
        let ill = drawn.lines().find(|line| line.contains("w-2\\t")).unwrap();
        assert!(ill.contains("Pending !") && ill.ends_with("its process ended"), "{drawn}");
    }

    #[test]
    fn a_terminal_that_is_too_small_says_so_in_one_line() {
        for (width, height) in [(79, 24), (80, 23)] {
            let expected = format!("{width}x{height} is too small: wordfreq top needs 80x24\n");
            let drawn = drawn(&view(), width, height);
            assert_eq!(drawn.trim_end(), expected.trim_end());
        }
        assert_eq!(drawn(&view(), 1, 1), "1\n");
    }

    #[test]
    fn more_instances_than_lines_are_counted() {
        let mut view = view();
        view.members = (0..40).map(|index| Member::pending(format!("w-{index}"), START)).collect();
        let drawn = drawn(&view, 80, 24);
        let shown = (0..40).filter(|index| drawn.contains(&format!(" w-{index} "))).count();
        assert!(shown >= 5 && drawn.contains(&format!("+{} more", 40 - shown)), "{drawn}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let view = View {
            up_runs: false,
            fleet: None,
            members: Vec::new(),
            activities: Vec::new(),
            transitions: Vec::new(),
            samples: Samples::default(),
            trouble: Some("the disk\x1b is on fire".into()),
            ..view()
        };
        let drawn = drawn(&view, 100, 30);
        for said in [
            "UP DOES NOT RUN   no fleet yet",
            "cannot look, trying again: the disk\\u{1b} is on fire",
            "done/s: not known yet",
            "\u{b7}\u{b7}\u{b7}",
        ] {
            assert!(drawn.contains(said), "{said}: {drawn}");
        }
        assert!(!drawn.contains('\u{2588}'), "a bar where nothing was seen: {drawn}");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let colors = |color| {
            let buffer = buffer(&View { color, ..view() }, 120, 40);
            buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
        };
        assert_eq!(colors(false), 0);
        assert!(colors(true) > 100);
        let plain = |color| drawn(&View { color, ..view() }, 120, 40);
        assert_eq!(plain(true), plain(false), "colour carries no text");
    }
}
