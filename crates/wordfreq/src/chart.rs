//! Charts of fleets, simulated or real, as SVG or PNG: backlog and in flight above, instances with their launches and
//! terminations below, and behind both the time that an alarm was on. And bars of anything. Not here: where the numbers
//! come from, and the page that charts stand on (`report`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use anyhow::{anyhow, bail};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use wordfreq_core::simulation::Sample;

use wordfreq_pipeline::rows::escaped;

const WIDTH: u32 = 1200;
/// Of one fleet.
const HEIGHT: u32 = 480;
const FONT: &str = "sans-serif";

const BACKLOG: RGBColor = RGBColor(0x1f, 0x5a, 0xa6);
const IN_FLIGHT: RGBColor = RGBColor(0x7a, 0x9c, 0xc6);
const DESIRED: RGBColor = RGBColor(0xc4, 0x6a, 0x00);
const IN_SERVICE: RGBColor = RGBColor(0x2a, 0x7d, 0x3f);
const ALARM: RGBColor = RGBColor(0xb0, 0x1e, 0x3c);

/// A fleet to draw.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it stood, look by look.
    pub timeline: &'a [Sample],
    /// What was done to it.
    pub marks: &'a [Mark],
    /// The alarms that are on while there is too much to do, by name: the time of any of them is shaded.
    pub high_alarms: &'a [String],
}

/// An instance that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Duration,
    /// Whether it came.
    pub is_launch: bool,
}

/// Bars over a range of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Bars<'a> {
    /// What the numbers along the bottom are.
    pub along: &'a str,
    /// What the heights are.
    pub height: &'a str,
    /// From where to where each bar stands, and how high it is.
    pub bars: &'a [(f64, f64, f64)],
}

/// Red, green and blue.
const BYTES_A_PIXEL: usize = 3;

/// An alarm's lane, and what is around all of them.
const LANE: u32 = 26;
const LANES_FRAME: u32 = 64;

/// Draws fleets below one another, on one time axis; the file's ending says in which form.
///
/// # Errors
/// Another ending than `.svg` or `.png`, and a file that cannot be written.
pub fn draw(path: &Path, fleets: &[Drawn<'_>]) -> anyhow::Result<()> {
    load_font();
    let size = (WIDTH, HEIGHT * fleets.len() as u32);
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => {
            let area = SVGBackend::new(path, size).into_drawing_area();
            draw_on_white(&area, fleets).map_err(|error| failed(&error))
        }
        Some("png") => {
            let mut pixels = vec![0; size.0 as usize * size.1 as usize * BYTES_A_PIXEL];
            let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
            draw_on_white(&area, fleets).map_err(|error| failed(&error))?;
            drop(area);
            write_png(path, size, &pixels).map_err(|error| failed(&error))
        }
        _ => bail!("{} ends neither in .svg nor in .png", path.display()),
    }
}

fn write_png(path: &Path, (width, height): (u32, u32), pixels: &[u8]) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()
}

/// A fleet as an SVG element without a ground of its own, for a page.
///
/// # Errors
/// When it cannot be drawn.
pub fn fleet_svg(fleet: &Drawn<'_>) -> anyhow::Result<String> {
    let alarms = alarms(fleet.timeline);
    let below = if alarms.is_empty() { 0 } else { LANE * alarms.len() as u32 + LANES_FRAME };
    inline(HEIGHT + below, |area| {
        let (above, below) = area.split_vertically(HEIGHT);
        draw_all(&above, std::slice::from_ref(fleet))?;
        if alarms.is_empty() { Ok(()) } else { draw_lanes(&below, fleet.timeline, &alarms) }
    })
}

/// Bars as an SVG element without a ground of its own, for a page.
///
/// # Errors
/// When they cannot be drawn.
pub fn bars_svg(bars: &Bars<'_>) -> anyhow::Result<String> {
    inline(HEIGHT * 11 / 20, |area| draw_bars(area, bars))
}

fn inline(
    height: u32,
    draw: impl FnOnce(&Drawing<SVGBackend<'_>>) -> Result<(), Failure<SVGBackend<'static>>>,
) -> anyhow::Result<String> {
    load_font();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        draw(&area).and_then(|()| area.present()).map_err(|error| anyhow!("cannot draw a chart: {error}"))?;
    }
    Ok(svg)
}

fn load_font() {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let font = include_bytes!("../assets/DejaVuSans-ascii.ttf");
        if register_font(FONT, FontStyle::Normal, font).is_err() {
            tracing::error!("the built-in font cannot be read");
        }
    });
}

type Drawing<B> = DrawingArea<B, plotters::coord::Shift>;
type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

fn draw_on_white<B: DrawingBackend>(area: &Drawing<B>, fleets: &[Drawn<'_>]) -> Result<(), Failure<B>> {
    area.fill(&WHITE)?;
    draw_all(area, fleets)?;
    area.present()
}

fn draw_bars<B: DrawingBackend>(area: &Drawing<B>, bars: &Bars<'_>) -> Result<(), Failure<B>> {
    let Bars { along, height, bars } = bars;
    let from = bars.iter().map(|(from, ..)| *from).fold(f64::INFINITY, f64::min).min(0.0);
    let to = bars.iter().map(|(_, to, _)| *to).fold(1e-9, f64::max);
    let most = bars.iter().map(|(.., high)| *high).fold(0.0, f64::max).max(1e-9) * 1.05;
    let mut chart = ChartBuilder::on(area);
    chart.margin(12).x_label_area_size(36).y_label_area_size(64);
    let mut chart = chart.build_cartesian_2d(from..to, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(*along)
        .y_desc(*height)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .draw()?;
    chart.draw_series(
        bars.iter().map(|(from, to, high)| Rectangle::new([(*from, 0.0), (*to, *high)], BACKLOG.filled())),
    )?;
    Ok(())
}

/// A lane for each alarm, filled while it is in ALARM.
fn draw_lanes<B: DrawingBackend>(
    area: &Drawing<B>,
    timeline: &[Sample],
    alarms: &[&str],
) -> Result<(), Failure<B>> {
    let end = timeline.last().map_or(1.0, minutes).max(1.0);
    let mut chart = ChartBuilder::on(area);
    chart.margin(12).x_label_area_size(36).y_label_area_size(64);
    let mut chart = chart.build_cartesian_2d(0.0..end, 0.0..alarms.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("minutes")
        .y_desc("alarms")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .draw()?;
    for (lane, alarm) in (0..).zip(alarms) {
        let bottom = alarms.len() as f64 - 1.0 - f64::from(lane);
        let spans = spans(timeline, |sample| sample.alarms.iter().any(|name| name == alarm));
        chart.draw_series(spans.into_iter().map(|(from, to)| {
            Rectangle::new([(from, bottom + 0.1), (to, bottom + 0.9)], ALARM.mix(0.35).filled())
        }))?;
        let label = Text::new(escaped(alarm).into_owned(), (end * 0.004, bottom + 0.78), (FONT, 14));
        chart.draw_series(std::iter::once(label))?;
    }
    Ok(())
}

fn draw_all<B: DrawingBackend>(area: &Drawing<B>, fleets: &[Drawn<'_>]) -> Result<(), Failure<B>> {
    let end = fleets.iter().filter_map(|fleet| fleet.timeline.last()).map(minutes).fold(1.0, f64::max);
    for (fleet, part) in fleets.iter().zip(area.split_evenly((fleets.len(), 1))) {
        let (above, below) = part.split_vertically(HEIGHT * 11 / 20);
        let most =
            |of: fn(&Sample) -> u64| fleet.timeline.iter().map(of).max().unwrap_or(0).max(1) as f64 * 1.05;
        let backlog = |sample: &Sample| sample.visible as f64;
        let in_flight = |sample: &Sample| sample.not_visible as f64;
        let desired = |sample: &Sample| f64::from(sample.desired);
        let in_service = |sample: &Sample| f64::from(sample.in_service);
        let messages = most(|sample| sample.visible.max(sample.not_visible));
        let instances = most(|sample| u64::from(sample.desired.max(sample.in_service)));
        panel(
            &above,
            fleet,
            fleet.name,
            "messages",
            (end, messages),
            &[],
            &[("waiting", BACKLOG, &backlog), ("in flight", IN_FLIGHT, &in_flight)],
        )?;
        panel(
            &below,
            fleet,
            "",
            "instances",
            (end, instances),
            fleet.marks,
            &[("desired", DESIRED, &desired), ("in service", IN_SERVICE, &in_service)],
        )?;
    }
    Ok(())
}

type Line<'a> = (&'a str, RGBColor, &'a dyn Fn(&Sample) -> f64);

fn panel<B: DrawingBackend>(
    area: &Drawing<B>,
    fleet: &Drawn<'_>,
    title: &str,
    unit: &str,
    (end, most): (f64, f64),
    marks: &[Mark],
    lines: &[Line<'_>],
) -> Result<(), Failure<B>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(12).x_label_area_size(36).y_label_area_size(64);
    if !title.is_empty() {
        chart.caption(escaped(title), (FONT, 20));
    }
    let mut chart = chart.build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("minutes")
        .y_desc(unit)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .draw()?;
    let alarmed =
        spans(fleet.timeline, |sample| sample.alarms.iter().any(|alarm| fleet.high_alarms.contains(alarm)));
    let bands = alarmed
        .iter()
        .map(|(from, to)| Rectangle::new([(*from, 0.0), (*to, most)], ALARM.mix(0.10).filled()));
    let shaded = chart.draw_series(bands)?;
    if !alarmed.is_empty() {
        shaded
            .label("scale-out alarm")
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], ALARM.mix(0.25).filled()));
    }
    for (name, color, value) in lines {
        // Steps: what was seen holds until the next look.
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(fleet.timeline.len() * 2);
        for sample in fleet.timeline {
            if let Some((_, before)) = points.last().copied() {
                points.push((minutes(sample), before));
            }
            points.push((minutes(sample), value(sample)));
        }
        let color = *color;
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    // Standing on the axis: what came points up, what went points down.
    for (is_launch, name, color) in [(true, "launch", IN_SERVICE), (false, "termination", DESIRED)] {
        let of_kind = || marks.iter().filter(move |mark| mark.is_launch == is_launch);
        if of_kind().next().is_none() {
            continue;
        }
        let corners =
            move || if is_launch { [(-6, 0), (6, 0), (0, -11)] } else { [(-6, -11), (6, -11), (0, 0)] };
        chart
            .draw_series(of_kind().map(|mark| {
                EmptyElement::at((mark.at.as_secs_f64() / 60.0, 0.0))
                    + Polygon::new(corners(), color.filled())
            }))?
            .label(name)
            .legend(move |(x, y)| {
                Polygon::new(corners().map(|(dx, dy)| (x + 9 + dx, y + 5 + dy)), color.filled())
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 14))
        .draw()
}

fn minutes(sample: &Sample) -> f64 {
    sample.at.as_secs_f64() / 60.0
}

/// From when to when something was so, in minutes.
fn spans(timeline: &[Sample], is_so: impl Fn(&Sample) -> bool) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut since = None;
    for sample in timeline {
        match (is_so(sample), since) {
            (true, None) => since = Some(minutes(sample)),
            (false, Some(from)) => {
                spans.push((from, minutes(sample)));
                since = None;
            }
            _ => {}
        }
    }
    if let (Some(from), Some(last)) = (since, timeline.last()) {
        spans.push((from, minutes(last)));
    }
    spans
}

/// Every alarm that was ever on, by name.
fn alarms(timeline: &[Sample]) -> Vec<&str> {
    let names: BTreeSet<&str> =
        timeline.iter().flat_map(|sample| sample.alarms.iter().map(String::as_str)).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_text_and_the_time_of_a_high_alarm_is_shaded() {
        let name = "<b>\u{1b}[2J\u{202e}&".to_owned();
        let sample = |minutes: u64, alarms: &[String]| Sample {
            at: Duration::from_secs(60 * minutes),
            visible: 1,
            not_visible: 1,
            desired: 1,
            in_service: 1,
            alarms: alarms.to_vec(),
        };
        let names = [name.clone()];
        let timeline = [sample(0, &[]), sample(1, &names), sample(2, &[])];
        let draw = |high_alarms: &[String]| {
            fleet_svg(&Drawn { name: &name, timeline: &timeline, marks: &[], high_alarms }).unwrap()
        };
        let svg = draw(&names);
        assert!(!svg.contains(['\u{1b}', '\u{202e}']) && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("\\u{202e}") && svg.contains("scale-out alarm"), "{svg}");
        assert!(!draw(&[]).contains("scale-out alarm"));
    }
}
