//! What every picture has in common: colours, sizes, and how a name is shortened.

use super::font::text_width;

/// A colour, red green blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// This colour mixed with white; `share` of the colour stays.
    pub(super) fn tint(self, share: f64) -> Rgb {
        let mix = |c: u8| (255.0 - (255.0 - f64::from(c)) * share.clamp(0.0, 1.0)).round() as u8;
        Rgb(mix(self.0), mix(self.1), mix(self.2))
    }
}

pub(super) const WHITE: Rgb = Rgb(255, 255, 255);
/// Titles.
pub(super) const INK: Rgb = Rgb(34, 34, 34);
/// Axis labels and the legend.
pub(super) const LABEL: Rgb = Rgb(68, 68, 68);
/// Notes.
pub(super) const MUTED: Rgb = Rgb(110, 110, 110);
/// Grid lines.
pub(super) const GRID: Rgb = Rgb(232, 232, 232);
/// The bottom axis.
pub(super) const AXIS: Rgb = Rgb(150, 150, 150);
/// The observed series.
pub(super) const HISTORY: Rgb = Rgb(51, 51, 51);
/// What was observed after the forecast was made.
pub(super) const ACTUAL: Rgb = Rgb(140, 140, 140);

/// The palette of Okabe and Ito without black (that is the history) and without yellow (too pale for a line on white).
const MODELS: [Rgb; 6] =
    [Rgb(0, 114, 178), Rgb(213, 94, 0), Rgb(0, 158, 115), Rgb(204, 121, 167), Rgb(230, 159, 0), Rgb(86, 180, 233)];

/// Dash and gap in pixels.
pub(super) type Dash = (f64, f64);

/// Colour and dash of a line.
pub(super) type LineStyle = (Rgb, Option<Dash>);

/// Colour and dash of the `i`-th model: six colours, then the same six dashed, dotted and long-dashed.
pub(super) fn model_line(i: usize) -> LineStyle {
    let dash = match i / MODELS.len() % 4 {
        0 => None,
        1 => Some((6.0, 3.5)),
        2 => Some((2.0, 3.0)),
        _ => Some((12.0, 4.0)),
    };
    (MODELS[i % MODELS.len()], dash)
}

/// Edge and inside of the `i`-th model's bars: six colours filled, then the same six as outlines, then dark shades.
pub(super) fn model_bar(i: usize) -> (Rgb, Rgb) {
    let color = MODELS[i % MODELS.len()];
    match i / MODELS.len() % 3 {
        0 => (color, color),
        1 => (color, color.tint(0.18)),
        _ => {
            let dark = Rgb(color.0 / 2, color.1 / 2, color.2 / 2);
            (dark, dark)
        }
    }
}

pub(super) const TITLE_SIZE: f64 = 17.0;
pub(super) const PANEL_TITLE_SIZE: f64 = 13.5;
pub(super) const LABEL_SIZE: f64 = 13.0;
pub(super) const NOTE_SIZE: f64 = 12.0;

/// Space between the picture's edge and anything drawn.
pub(super) const MARGIN: f64 = 18.0;

/// `text` shortened in the middle until it is at most `width` pixels wide: `station-0…-daily`.
///
/// The two ends of a series id are what tells it from its neighbours, so the middle goes. At least one letter stays.
pub(super) fn elide(text: &str, size: f64, bold: bool, width: f64) -> String {
    if text_width(text, size, bold) <= width {
        return text.to_string();
    }
    // Names can be very long: only so many letters could ever fit (a letter is at least a fifth of an em wide).
    let fit = (width / (0.2 * size)).clamp(1.0, 4000.0) as usize;
    let letters: Vec<char> = text.chars().take(fit + 1).collect();
    let tail: Vec<char> = text.chars().rev().take(fit + 1).collect();
    let total = text.chars().count();
    let shortened = |keep: usize| -> String {
        let head = keep.div_ceil(2).min(letters.len());
        let end = (keep / 2).min(tail.len());
        letters[..head].iter().chain(['…'].iter()).chain(tail[..end].iter().rev()).collect()
    };
    // Width grows with the number of kept letters: bisect.
    let (mut low, mut high) = (1, fit.min(total.saturating_sub(1)).max(1));
    while low < high {
        let mid = (low + high).div_ceil(2);
        if text_width(&shortened(mid), size, bold) <= width {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    shortened(low)
}

/// A level in percent as the legend says it: `80 %`, `97.5 %`.
pub(super) fn level_label(level: f64) -> String {
    let rounded = (level * 1000.0).round() / 1000.0;
    format!("{rounded} % interval")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays_as_it_is() {
        assert_eq!(elide("air", 13.0, false, 100.0), "air");
    }

    #[test]
    fn long_text_keeps_both_ends_and_fits() {
        let id = "household-000123-daily-consumption-kwh";
        let short = elide(id, 13.0, false, 120.0);
        assert!(text_width(&short, 13.0, false) <= 120.0);
        assert!(short.starts_with("househ") && short.ends_with("kwh"), "{short}");
        assert_eq!(short.matches('…').count(), 1);
    }

    #[test]
    fn elide_survives_absurd_widths_and_lengths() {
        assert_eq!(elide("abcdef", 13.0, false, 0.0), "a…");
        assert_eq!(elide("abcdef", 13.0, false, f64::NAN).chars().count(), 2);
        let long = "é".repeat(100_000);
        assert!(text_width(&elide(&long, 13.0, true, 300.0), 13.0, true) <= 300.0);
    }

    #[test]
    fn tint_ends() {
        assert_eq!(Rgb(0, 114, 178).tint(1.0), Rgb(0, 114, 178));
        assert_eq!(Rgb(0, 114, 178).tint(0.0), WHITE);
    }

    #[test]
    fn the_first_24_models_look_different() {
        let all: Vec<_> = (0..24).map(model_line).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "model {i} repeats a style");
        }
        let fills: Vec<_> = (0..18).map(model_bar).collect();
        for (i, a) in fills.iter().enumerate() {
            assert!(fills[..i].iter().all(|b| a != b), "bar {i} repeats a colour");
        }
    }
}
