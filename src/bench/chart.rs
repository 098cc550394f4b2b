//! Latencies: their quantiles, and how they are drawn, on a terminal and as an SVG.

use serde::Serialize;

/// Bars are as wide as this at most.
const BAR_CHARS: usize = 40;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 50.0;
/// The share of the slowest that is still drawn: 1 − 10⁻⁴.
const NINES: f64 = 4.0;
const COLOURS: [&str; 5] = ["#1b6ca8", "#c8553d", "#3a7d44", "#8e5aa8", "#b8860b"];

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Latencies in milliseconds, in order.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn new(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn quantiles(&self) -> Quantiles {
        Quantiles { p50: self.at(0.5), p99: self.at(0.99), p999: self.at(0.999), max: self.at(1.0) }
    }

    /// The smallest that this share is no slower than; 0 if there is none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is within the length"
    )]
    fn at(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// One line for each doubling, with its share as a bar.
    pub fn histogram(&self) -> String {
        let slowest = self.at(1.0);
        let mut lines = String::new();
        let (mut from, mut to) = (0.0, 0.5);
        while from < slowest || from == 0.0 {
            let count = self.0.iter().filter(|ms| **ms > from && **ms <= to).count();
            let bar = "#".repeat((count * BAR_CHARS).div_ceil(self.0.len().max(1)));
            if count > 0 {
                lines.push_str(&format!("  {from:>7} to {to:<7} ms {count:>8} {bar}\n"));
            }
            (from, to) = (to, to * 2.0);
        }
        lines
    }
}

/// How slow the slowest are: a line for each, over shares from none to all but one in ten thousand.
pub fn svg(lines: &[(String, &Latencies)]) -> String {
    let highest = lines.iter().map(|(_, l)| l.at(1.0 - 10f64.powf(-NINES))).fold(1.0, f64::max);
    let (x, y) = (
        |nines: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * nines / NINES,
        |ms: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * ms / highest,
    );
    let mut body = String::new();
    for (nines, share) in
        [(0.0, "0 %"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %")]
    {
        let (x, bottom) = (x(nines), HEIGHT - MARGIN);
        body.push_str(&format!(
            "<path d=\"M{x:.1} {MARGIN}V{bottom}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{share}</text>\n",
            bottom + 18.0
        ));
    }
    for step in 0..=4 {
        let ms = highest * f64::from(step) / 4.0;
        let y = y(ms);
        body.push_str(&format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms:.1}</text>\n",
            MARGIN - 6.0,
            y + 4.0
        ));
    }
    for (at, (name, latencies)) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points = (0..=80).map(|step| NINES * f64::from(step) / 80.0);
        let points =
            points.map(|nines| format!("{:.1},{:.1}", x(nines), y(latencies.at(1.0 - 10f64.powf(-nines)))));
        let points = points.collect::<Vec<_>>().join(" ");
        let (right, top) = (MARGIN + 12.0, MARGIN + 18.0 * at as f64);
        body.push_str(&format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{right}\" y=\"{top}\" fill=\"{colour}\">{name}</text>\n"
        ));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\">publication to event, ms; so many are no slower</text>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_smallest_that_the_share_is_no_slower_than() {
        let latencies = Latencies::new((1..=1000).rev().map(f64::from).collect());
        let expected = Quantiles { p50: 500.0, p99: 990.0, p999: 999.0, max: 1000.0 };
        assert_eq!(latencies.quantiles(), expected);
        let one = Latencies::new(vec![7.0]).quantiles();
        assert_eq!((one.p50, one.max), (7.0, 7.0));
        assert_eq!(Latencies::default().quantiles().max, 0.0);
    }

    #[test]
    fn a_histogram_counts_each_latency_once() {
        let latencies = Latencies::new(vec![0.2, 0.5, 0.6, 3.0, 3.5, 9.0]);
        let histogram = latencies.histogram();
        let counts: Vec<usize> =
            histogram.lines().map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect();
        assert_eq!(counts, [2, 1, 2, 1], "{histogram}");
    }

    #[test]
    fn a_drawing_has_a_line_for_each_rate_and_no_number_that_is_none() {
        let (few, none) = (Latencies::new(vec![1.0, 2.0, 30.0]), Latencies::default());
        let drawn = svg(&[("100/s".to_owned(), &few), ("1,000/s".to_owned(), &none)]);
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}
