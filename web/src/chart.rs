//! Stacked bars as plain SVG: days across, a color per series. The numbers behind it stand in a table
//! beside it; colors come from the stylesheet, so dark mode needs nothing here.

/// Colors of the stylesheet, `series-0` up; the last one is for everything else.
pub(crate) const COLORS: usize = 6;

const WIDTH: u64 = 960;
const HEIGHT: u64 = 220;
const LEFT: u64 = 64;
const TOP: u64 = 12;
const BOTTOM: u64 = 28;

/// A day with one value per series, in any unit.
pub(crate) struct Day {
    pub label: String,
    pub values: Vec<u64>,
    /// What the pointer shows over the day.
    pub tip: String,
}

/// A rectangle of the picture.
pub(crate) struct Bar {
    pub x: u64,
    pub y: u64,
    pub width: u64,
    pub height: u64,
    pub series: usize,
}

/// All bars of a day.
pub(crate) struct Column {
    pub x: u64,
    pub width: u64,
    pub tip: String,
    pub bars: Vec<Bar>,
    /// Empty where days are too dense for every label.
    pub label: String,
    pub label_x: u64,
}

/// A grid line with its label.
pub(crate) struct Line {
    pub y: u64,
    pub text_y: u64,
    pub label: String,
}

/// The picture.
pub(crate) struct Chart {
    pub columns: Vec<Column>,
    pub lines: Vec<Line>,
}

impl Chart {
    /// `unit` writes a value on the axis.
    pub(crate) fn stacked(days: &[Day], unit: fn(u64) -> String) -> Self {
        let highest = days.iter().map(|day| day.values.iter().sum::<u64>()).max().unwrap_or_default();
        let top = nice(highest);
        let count = u64::try_from(days.len()).unwrap_or(1).max(1);
        let pitch = (WIDTH - LEFT) / count;
        // A gap of about a fifth, and no bar wider than looks well.
        let width = (pitch * 4 / 5).clamp(1, 48);
        let every = days.len().div_ceil(8).max(1);
        let columns = days.iter().zip(0_u64..).enumerate().map(|(index, (day, position))| {
            let x = LEFT + position * pitch + (pitch - width) / 2;
            let labeled = index % every == 0;
            Column {
                x: LEFT + position * pitch,
                width: pitch,
                tip: day.tip.clone(),
                bars: bars(day, x, width, top),
                label: if labeled { day.label.clone() } else { String::new() },
                label_x: x + width / 2,
            }
        });
        let lines = (0..=2).map(|step| {
            let y = scale(top * step / 2, top);
            Line { y, text_y: y + 4, label: unit(top * step / 2) }
        });
        Self { columns: columns.collect(), lines: lines.collect() }
    }
}

fn bars(day: &Day, x: u64, width: u64, top: u64) -> Vec<Bar> {
    let mut below = 0_u64;
    let mut bars = Vec::with_capacity(day.values.len());
    for (series, value) in day.values.iter().enumerate() {
        let (start, end) = (scale(below, top), scale(below.saturating_add(*value), top));
        below = below.saturating_add(*value);
        if start > end {
            bars.push(Bar { x, y: end, width, height: start - end, series: series.min(COLORS - 1) });
        }
    }
    bars
}

/// The height of a value in the picture; zero is at the bottom.
fn scale(value: u64, top: u64) -> u64 {
    let plot = u128::from(HEIGHT - TOP - BOTTOM);
    let up = (u128::from(value) * plot).checked_div(u128::from(top)).unwrap_or_default();
    HEIGHT - BOTTOM - u64::try_from(up.min(plot)).unwrap_or_default()
}

/// The next of 1, 2, 3, 4, 5, 6, 8, 10 times a power of ten that is not below `value`.
fn nice(value: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [1, 2, 3, 4, 5, 6, 8] {
            let candidate = power.saturating_mul(step);
            if candidate >= value.max(2) || candidate == u64::MAX {
                return candidate;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (value, expected) in
            [(0, 2), (2, 2), (3, 3), (41, 50), (99, 100), (101, 200), (505, 600), (u64::MAX, u64::MAX)]
        {
            assert_eq!(nice(value), expected, "{value}");
        }
    }

    #[test]
    fn bars_stack_without_gaps_and_reach_the_top_at_the_maximum() {
        let day = Day { label: "Nov 1".to_owned(), values: vec![50, 0, 50], tip: String::new() };
        let chart = Chart::stacked(&[day], |value| value.to_string());
        let bars = &chart.columns[0].bars;
        assert_eq!(bars.len(), 2, "an empty series draws nothing");
        assert_eq!(bars[0].y, bars[1].y + bars[1].height);
        assert_eq!(bars[1].y, TOP);
        assert_eq!(chart.lines.last().unwrap().label, "100");
    }
}
