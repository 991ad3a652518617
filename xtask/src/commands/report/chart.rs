//! Curves and bars as SVG.

use std::fmt::Write;

use super::html::escape;

/// A line of a chart: `color` is a class of the style sheet.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub color: usize,
    pub points: Vec<(f64, f64)>,
}

/// Points that are drawn of a line, at most.
const POINTS: usize = 240;
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Fewer points: means of as many neighbours each, but for the last one, which stays.
pub fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some((last, before)) = points.split_last() else { return Vec::new() };
    let each = before.len().div_ceil(POINTS - 1).max(1);
    let mean = |some: &[(f64, f64)]| {
        let n = some.len() as f64;
        (some.iter().map(|p| p.0).sum::<f64>() / n, some.iter().map(|p| p.1).sum::<f64>() / n)
    };
    before.chunks(each).map(mean).chain([*last]).collect()
}

/// A chart of lines over steps; `floor` is in it in any case.
pub fn lines(id: &str, title: &str, series: &[Series], floor: Option<f64>) -> String {
    let drawn: Vec<Series> = series
        .iter()
        .map(|line| {
            let finite: Vec<_> = line.points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
            Series { points: thinned(&finite), ..line.clone() }
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    if drawn.is_empty() {
        return String::new();
    }
    let all = || drawn.iter().flat_map(|line| &line.points);
    let ends = |of: &dyn Fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (x_low, x_high) = ends(&|p| p.0);
    let (mut y_low, mut y_high) = ends(&|p| p.1);
    if let Some(floor) = floor {
        y_low = y_low.min(floor);
    }
    if y_high - y_low < 1e-12 * y_high.abs().max(1e-9) {
        (y_low, y_high) = (y_low - 0.5 * y_low.abs().max(1e-9), y_high + 0.5 * y_high.abs().max(1e-9));
    }
    let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low).max(1e-12) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure class=\"chart\" id=\"chart-{id}\"><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    for tick in ticks(y_low, y_high) {
        let at = y(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick\" \
             x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            at + 3.5,
            short(tick)
        );
    }
    for tick in ticks(x_low, x_high) {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(tick),
            HEIGHT - 8.0,
            short(tick)
        );
    }
    for line in &drawn {
        let mut points: Vec<String> =
            line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
        let one = points.len() == 1;
        points.extend(points.first().filter(|_| one).cloned()); // a line of no length is a dot
        let last = line.points.last().map_or(0.0, |point| point.1);
        let _ = write!(
            svg,
            "<polyline class=\"line{} c{}\" data-name=\"{}\" data-last=\"{last}\" points=\"{}\"><title>{}: {}</title>\
             </polyline>",
            if one { " dot" } else { "" },
            line.color,
            escape(&line.name),
            points.join(" "),
            escape(&line.name),
            short(last)
        );
    }
    svg.push_str("</svg>");
    let legend: Vec<String> = drawn
        .iter()
        .map(|line| {
            let last = line.points.last().map_or(0.0, |point| point.1);
            format!("<span class=\"key c{}\">{} {}</span>", line.color, escape(&line.name), short(last))
        })
        .collect();
    let _ = write!(svg, "<p class=\"legend\">{}</p></figure>", legend.join(" "));
    svg
}

/// Round numbers between two, four or so.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    if rough <= 0.0 || !rough.is_finite() {
        return vec![low];
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..first + 12).map(|i| i as f64 * step).take_while(|tick| *tick <= high + 1e-9 * step).collect()
}

/// A number in few characters.
pub fn short(x: f64) -> String {
    let size = x.abs();
    if size >= 1e6 {
        format!("{:.1}M", x / 1e6)
    } else if size >= 1e4 {
        format!("{:.0}k", x / 1e3)
    } else if size >= 100.0 || x == 0.0 {
        format!("{x:.0}")
    } else if size >= 1.0 {
        trimmed(format!("{x:.2}"))
    } else if size >= 1e-3 {
        trimmed(format!("{x:.4}"))
    } else {
        format!("{x:.1e}")
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A share with its interval.
#[derive(Debug, Clone)]
pub struct Bar {
    pub name: String,
    pub color: usize,
    pub share: f64,
    pub interval: (f64, f64),
}

/// Bars of shares from 0 to 1, with whiskers.
pub fn bars(title: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 30.0;
    const NAME: f64 = 150.0;
    const END: f64 = 470.0;
    let height = ROW * bars.len() as f64 + 22.0;
    let x = |share: f64| NAME + share * (END - NAME - 66.0);
    let mut svg = format!(
        "<figure class=\"chart bars\"><figcaption>{}</figcaption><svg viewBox=\"0 0 {END} {height}\" role=\"img\" \
         aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    for tenth in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = x(tenth);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"2\" y2=\"{:.1}\"/><text class=\"tick\" \
             x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} %</text>",
            height - 18.0,
            height - 5.0,
            100.0 * tenth
        );
    }
    for (i, bar) in bars.iter().enumerate() {
        let top = ROW * i as f64 + 6.0;
        let (low, high) = (x(bar.interval.0), x(bar.interval.1));
        let middle = top + 9.0;
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"bar c{}\" \
             x=\"{NAME}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"18\" rx=\"3\" data-share=\"{}\"/><line \
             class=\"whisker\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/><text \
             class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{:.2} %</text>",
            NAME - 8.0,
            top + 13.5,
            escape(&bar.name),
            bar.color,
            x(bar.share) - NAME,
            bar.share,
            high + 7.0,
            top + 13.5,
            100.0 * bar.share
        );
    }
    svg.push_str("</svg></figure>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_lines_end_where_they_end() {
        let points: Vec<(f64, f64)> = (0..6000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS, "{}", thin.len());
        assert_eq!(thin.last(), points.last());
        assert_eq!(thinned(&points[..3]), points[..3]);
        assert!(thinned(&[]).is_empty());
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 4.0), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(0.3, 0.72).len(), 2);
        assert_eq!(ticks(5.0, 5.0), [5.0]);
        assert_eq!([short(0.0), short(1234.5), short(0.95), short(1e-7)], ["0", "1234", "0.95", "1.0e-7"]);
    }

    #[test]
    fn a_chart_has_its_numbers_and_escapes_names() {
        let series = Series { name: "a<b".into(), color: 0, points: vec![(1.0, 2.0), (2.0, 0.5)] };
        let svg = lines("loss", "loss & more", &[series], Some(0.0));
        assert!(
            svg.contains("data-last=\"0.5\"") && svg.contains("a&lt;b") && svg.contains("loss &amp; more")
        );
        assert_eq!(lines("x", "y", &[], None), "");
        let nan = Series { name: "n".into(), color: 0, points: vec![(1.0, f64::NAN)] };
        assert_eq!(lines("x", "y", &[nan], None), "");
    }
}
