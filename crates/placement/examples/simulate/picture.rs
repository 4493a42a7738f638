//! Lines over a day, as SVG.

use std::fmt::Write;

/// A line: its values lie evenly over the day.
pub struct Series {
    pub name: &'static str,
    pub values: Vec<f64>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;
const GAP: f64 = 48.0;
const LEFT: f64 = 64.0;

/// Draws each line in a field of its own, from zero up, with its largest and its last value.
pub fn draw(all: &[Series]) -> String {
    let height = all.len() as f64 * (HEIGHT + GAP) + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"system-ui\" font-size=\"12\">\n",
        WIDTH + LEFT * 2.0
    );
    for (number, series) in all.iter().enumerate() {
        let top = GAP + number as f64 * (HEIGHT + GAP);
        let most = series.values.iter().copied().fold(0.0, f64::max);
        // Nothing is not less than nothing.
        let last = series.values.last().copied().unwrap_or(0.0) + 0.0;
        let y = |value: f64| top + HEIGHT - HEIGHT * value / most.max(f64::MIN_POSITIVE);
        let step = WIDTH / (series.values.len().max(2) - 1) as f64;
        let points: Vec<String> = series
            .values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", LEFT + place as f64 * step, y(*value)))
            .collect();
        let bottom = top + HEIGHT;
        let right = LEFT + WIDTH;
        // Writing to a text does not fail.
        let _ = write!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{}</text>\n\
             <path d=\"M{LEFT},{top}V{bottom}H{right}\" fill=\"none\" stroke=\"#999\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most:.0}</text><text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"1.5\"/>\n\
             <text x=\"{}\" y=\"{:.1}\">{last:.0}</text>\n",
            top - 10.0,
            series.name,
            LEFT - 6.0,
            top + 4.0,
            LEFT - 6.0,
            points.join(" "),
            right + 6.0,
            y(last)
        );
        for hour in (0..=24).step_by(6) {
            let x = LEFT + WIDTH * f64::from(hour) / 24.0;
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{hour} h</text>", bottom + 16.0);
        }
    }
    svg.push_str("</svg>\n");
    svg
}
