//! A run as a picture: load, instances and waiting over time.

use std::fmt::Write as _;

use super::{report::Report, run::Point};

/// Draws reports below each other, each with its load, its instances (active, and frozen above
/// them) and how many waited. Runs must have been recorded.
pub fn svg(reports: &[Report]) -> String {
    let height = TOP + reports.len() as f64 * (3.0 * PANEL + HEAD);
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        ),
    );
    for (index, report) in reports.iter().enumerate() {
        let top = TOP + index as f64 * (3.0 * PANEL + HEAD);
        draw(report, top, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(report: &Report, top: f64, out: &mut String) {
    let points = thinned(&report.points);
    put(
        out,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}: ${:.4}, {} refused, p99.9 {:.0} ms</text>\n",
            top + 14.0,
            escaped(&report.policy),
            report.cost_usd,
            report.refused,
            report.wait_p999_ms
        ),
    );
    let panel = |n: f64| top + HEAD + n * PANEL;
    let load = |point: &Point| point.arrivals as f64;
    let active = |point: &Point| f64::from(point.active);
    let all = |point: &Point| f64::from(point.active + point.standby);
    let waiting = |point: &Point| f64::from(point.waiting);
    area(out, &points, panel(0.0), "requests/s", &[(&load, "#4878a8")]);
    area(out, &points, panel(1.0), "instances", &[(&all, "#cfd8e3"), (&active, "#3a8f5c")]);
    area(out, &points, panel(2.0), "waiting", &[(&waiting, "#c0504d")]);
}

type Curve<'a> = (&'a dyn Fn(&Point) -> f64, &'a str);

/// One panel: curves as filled steps from the same base, the first behind the others.
fn area(out: &mut String, points: &[Point], top: f64, name: &str, curves: &[Curve<'_>]) {
    let last = points.last().map_or(1.0, |point| point.second).max(1.0);
    let most = (points.iter()).flat_map(|point| curves.iter().map(|(of, _)| of(point)));
    let most = most.fold(1.0, f64::max);
    let (base, drawn) = (top + PANEL - GAP, PANEL - 2.0 * GAP);
    for (of, colour) in curves {
        let mut path = format!("M{LEFT} {base}");
        for point in points {
            let x = LEFT + point.second / last * (WIDTH - LEFT - GAP);
            let y = base - of(point) / most * drawn;
            put(&mut path, format_args!("V{y:.1}H{x:.1}"));
        }
        put(out, format_args!("<path d=\"{path}V{base}Z\" fill=\"{colour}\"/>\n"));
    }
    put(
        out,
        format_args!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\" stroke=\"#888\"/>\n\
         <text x=\"4\" y=\"{}\">{most:.0}</text><text x=\"4\" y=\"{}\" fill=\"#555\">{name}</text>\n",
            WIDTH - GAP,
            base - drawn + 10.0,
            base - 4.0
        ),
    );
}

/// At most as many points as there are pixels; of each group the largest of everything.
fn thinned(points: &[Point]) -> Vec<Point> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let largest = |group: &[Point]| {
        group.iter().copied().reduce(|a, b| Point {
            second: b.second,
            arrivals: a.arrivals.max(b.arrivals),
            active: a.active.max(b.active),
            standby: a.standby.max(b.standby),
            waiting: a.waiting.max(b.waiting),
            refused: a.refused + b.refused,
        })
    };
    points.chunks(group).filter_map(largest).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 8.0;
const HEAD: f64 = 22.0;
const PANEL: f64 = 90.0;
const GAP: f64 = 6.0;
const MOST_POINTS: usize = 1_000;
