//! The curves as a picture: goodput over load, both in capacities.

use std::fmt::Write;

use super::{clients::Clock, curve::Curve};

/// Draws all curves into one picture.
pub fn draw(curves: &[Curve]) -> String {
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Goodput over load</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
    );
    axes(&mut svg);
    for (number, curve) in curves.iter().enumerate() {
        line(&mut svg, number, curve);
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String) {
    for tenths in 0..=5 {
        let part = f64::from(tenths) / 5.0;
        let y = y(part);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{part:.1}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for load in [0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0] {
        let x = x(load);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#eee\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{load}</text>",
            BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}H{RIGHT}\" fill=\"none\" stroke=\"#aaa\" \
         stroke-dasharray=\"4 4\"/>\n\
         <text x=\"{LEFT}\" y=\"{}\">served in time, over capacity</text>\n\
         <text x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">requests that come, over capacity</text>",
        x(0.5),
        y(0.5),
        x(1.0),
        y(1.0),
        TOP - 12.0,
        BOTTOM + 36.0
    );
}

fn line(svg: &mut String, number: usize, curve: &Curve) {
    let color = COLORS[number % COLORS.len()];
    let dashes = match curve.clock {
        Clock::Paused => "",
        Clock::Real => " stroke-dasharray=\"8 3\"",
    };
    let points: Vec<String> = (curve.points.iter())
        .map(|point| format!("{:.1},{:.1}", x(point.load), y(point.over_capacity)))
        .collect();
    let clock = match curve.clock {
        Clock::Paused => "",
        Clock::Real => ", real time",
    };
    let row = TOP + 90.0 + 16.0 * number as f64;
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"{dashes}/>\n\
         <path d=\"M{:.1} {row:.1}h24\" stroke=\"{color}\" stroke-width=\"2\"{dashes}/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}{clock}</text>",
        points.join(" "),
        RIGHT - 270.0,
        RIGHT - 240.0,
        row + 4.0,
        curve.name
    );
}

/// Loads are told apart by how many times one is the other.
fn x(load: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (load / 0.5).ln() / (10.0_f64 / 0.5).ln()
}

fn y(part: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * part / 1.1
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 780.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 410.0;
const COLORS: [&str; 8] =
    ["#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#e0912f", "#3b3b3b", "#00a6a6", "#b0578d"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_parts_stay_within_the_frame() {
        assert!((x(0.5) - LEFT).abs() < 1e-9 && (x(10.0) - RIGHT).abs() < 1e-9);
        assert!(y(0.0) <= BOTTOM && y(1.05) > TOP);
    }

    #[test]
    fn each_curve_is_drawn_and_named() {
        let curve = Curve { name: "a curve", clock: Clock::Real, points: Vec::new() };
        let svg = draw(&[curve.clone(), curve]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("a curve, real time").count(), 2);
        assert!(svg.ends_with("</svg>\n"));
    }
}
