//! DejaVu Sans, carried in the program: a picture looks the same on a machine without fonts.
//!
//! plotters rasterises single glyphs from the registered bytes but leaves out their left side bearing, so the two numbers
//! per glyph that a line of text needs (advance and bearing) are read here from the font's own tables
//! (`cmap` format 4, `hmtx`; OpenType specification 1.9).

use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};
use std::sync::OnceLock;

/// The family as an SVG viewer reads it. Verdana has nearly the same widths, so text fits where DejaVu is not installed.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

struct Face {
    bytes: &'static [u8],
    units_per_em: f64,
    /// Ascender minus descender in em: the unit in which the rasteriser counts font sizes.
    line_height: f64,
    hmtx: usize,
    long_metrics: usize,
    cmap: usize,
}

struct Faces {
    regular: Option<Face>,
    bold: Option<Face>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    u16_at(bytes, at).map(|v| v as i16)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some((usize::from(u16_at(bytes, at)?) << 16) | usize::from(u16_at(bytes, at + 2)?))
}

impl Face {
    fn parse(bytes: &'static [u8]) -> Option<Face> {
        let table = |tag: &[u8; 4]| {
            let count = usize::from(u16_at(bytes, 4)?);
            (0..count).map(|i| 12 + 16 * i).find(|&at| bytes.get(at..at + 4) == Some(tag)).and_then(|at| u32_at(bytes, at + 8))
        };
        let (head, hhea, hmtx, cmap) = (table(b"head")?, table(b"hhea")?, table(b"hmtx")?, table(b"cmap")?);
        let units_per_em = f64::from(u16_at(bytes, head + 18)?);
        let line_height = f64::from(i16_at(bytes, hhea + 4)?) - f64::from(i16_at(bytes, hhea + 6)?);
        let long_metrics = usize::from(u16_at(bytes, hhea + 34)?);
        let subtables = usize::from(u16_at(bytes, cmap + 2)?);
        let cmap = (0..subtables)
            .filter_map(|i| Some(cmap + u32_at(bytes, cmap + 4 + 8 * i + 4)?))
            .find(|&at| u16_at(bytes, at) == Some(4))?;
        (units_per_em > 0.0 && long_metrics > 0).then_some(Face {
            bytes,
            units_per_em,
            line_height: line_height / units_per_em,
            hmtx,
            long_metrics,
            cmap,
        })
    }

    /// The glyph of a letter, if the font has one.
    fn glyph(&self, letter: char) -> Option<usize> {
        let code = u16::try_from(u32::from(letter)).ok()?;
        let twice = usize::from(u16_at(self.bytes, self.cmap + 6)?);
        let ends = self.cmap + 14;
        for i in (0..twice).step_by(2) {
            if u16_at(self.bytes, ends + i)? < code {
                continue;
            }
            let starts = ends + twice + 2;
            let start = u16_at(self.bytes, starts + i)?;
            if start > code {
                return None;
            }
            let delta = u16_at(self.bytes, starts + twice + i)?;
            let range_at = starts + 2 * twice + i;
            let range = usize::from(u16_at(self.bytes, range_at)?);
            let glyph = if range == 0 {
                code.wrapping_add(delta)
            } else {
                match u16_at(self.bytes, range_at + range + 2 * usize::from(code - start))? {
                    0 => 0,
                    g => g.wrapping_add(delta),
                }
            };
            return (glyph != 0).then_some(usize::from(glyph));
        }
        None
    }

    /// Advance and left side bearing in em. A letter that the font lacks counts one em: what a viewer will likely find
    /// elsewhere (Chinese, an emoji) is about that wide.
    fn metrics(&self, letter: char) -> (f64, f64) {
        let read = |glyph: usize| {
            let long = glyph.min(self.long_metrics - 1);
            let advance = u16_at(self.bytes, self.hmtx + 4 * long)?;
            let bearing = if glyph < self.long_metrics {
                i16_at(self.bytes, self.hmtx + 4 * glyph + 2)?
            } else {
                i16_at(self.bytes, self.hmtx + 4 * self.long_metrics + 2 * (glyph - self.long_metrics))?
            };
            Some((f64::from(advance) / self.units_per_em, f64::from(bearing) / self.units_per_em))
        };
        match self.glyph(letter) {
            Some(glyph) => read(glyph).unwrap_or((1.0, 0.0)),
            None => (1.0, read(0).map_or(0.0, |(_, bearing)| bearing)),
        }
    }
}

/// Both faces, registered with plotters at the first call.
fn faces() -> &'static Faces {
    static FACES: OnceLock<Faces> = OnceLock::new();
    FACES.get_or_init(|| {
        let load = |style, bytes| register_font(FAMILY, style, bytes).ok().and_then(|()| Face::parse(bytes));
        Faces { regular: load(FontStyle::Normal, dejavu::sans::regular()), bold: load(FontStyle::Bold, dejavu::sans::bold()) }
    })
}

fn face(bold: bool) -> Option<&'static Face> {
    if bold { faces().bold.as_ref() } else { faces().regular.as_ref() }
}

/// The plotters style of a weight.
pub(super) fn weight(bold: bool) -> FontStyle {
    if bold { FontStyle::Bold } else { FontStyle::Normal }
}

/// Width of one line of text in pixels at `size` pixels per em.
pub(super) fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    match face(bold) {
        Some(face) => size * text.chars().map(|c| face.metrics(visible(c)).0).sum::<f64>(),
        None => size * 0.62 * text.chars().count() as f64,
    }
}

/// Calls `ink(x, y, coverage)` for every covered cell of a line of text that starts at (0, 0) on the baseline, in cells of
/// which `size` make one em. Cells may be negative (above the baseline).
pub(super) fn rasterise(text: &str, size: f64, bold: bool, mut ink: impl FnMut(i32, i32, f32)) {
    let Some(face) = face(bold) else { return };
    // An even size keeps the baseline, which the rasteriser puts at half the size, on a whole cell.
    let line = 2.0 * (size * face.line_height / 2.0).round().max(1.0);
    let font = FontDesc::new(FontFamily::Name(FAMILY), line, weight(bold));
    let mut pen = 0.0;
    let mut buffer = [0u8; 4];
    for letter in text.chars() {
        let (advance, bearing) = face.metrics(letter);
        let left = pen as i32 + (bearing * line / face.line_height).floor() as i32;
        let drawn = font.draw::<(), _>(letter.encode_utf8(&mut buffer), (left, -(line as i32 / 2)), |x, y, c| {
            ink(x, y, c);
            Ok(())
        });
        debug_assert!(drawn.is_ok(), "the font is registered before the first glyph is drawn");
        pen += advance * size;
    }
}

/// Control characters (which XML forbids), marks that turn the reading direction and letters without a width become spaces.
fn visible(c: char) -> char {
    match c {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => ' ',
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    }
}

/// `text` as one line that every viewer can show; it has the width of `text`.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_those_of_the_font_file() {
        let face = face(false).expect("the font is part of the program");
        assert_eq!(face.units_per_em, 2048.0);
        // Advance widths of DejaVu Sans 2.37 in 1/2048 em: every digit 1303, space 651, M 1767.
        for digit in '0'..='9' {
            assert_eq!(face.metrics(digit).0 * 2048.0, 1303.0);
        }
        assert_eq!(face.metrics(' ').0 * 2048.0, 651.0);
        assert_eq!(face.metrics('M').0 * 2048.0, 1767.0);
        assert_eq!(face.glyph('漢'), None);
        assert_eq!(face.glyph('🦀'), None);
        assert!(face.glyph('−').is_some() && face.glyph('…').is_some());
    }

    #[test]
    fn width_is_additive_and_bold_is_wider() {
        let w = |t| text_width(t, 13.0, false);
        assert!((w("auto") + w("-ets") - w("auto-ets")).abs() < 1e-9);
        assert!(text_width("auto-ets", 13.0, true) > w("auto-ets"));
        assert_eq!(w(""), 0.0);
    }

    #[test]
    fn ink_stays_within_the_advance() {
        for (text, bold) in [("1,250", false), ("Httilj", true), ("漢", false)] {
            let (mut left, mut right, mut cells) = (i32::MAX, i32::MIN, 0);
            rasterise(text, 100.0, bold, |x, y, c| {
                if c > 0.5 {
                    left = left.min(x);
                    right = right.max(x);
                    cells += 1;
                }
                assert!((-130..60).contains(&y), "{y}");
            });
            assert!(cells > 100);
            assert!(left >= 0 && f64::from(right) <= text_width(text, 100.0, bold) + 2.0, "{text}: {left}..{right}");
        }
    }

    #[test]
    fn text_is_made_printable() {
        assert_eq!(printable("a\tb\u{0}c\n"), "a b c ");
        assert_eq!(printable("a\u{202e}b"), "a b");
    }
}
