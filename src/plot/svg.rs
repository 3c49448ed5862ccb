//! A picture as SVG text, through plotters' SVG backend.
//!
//! The backend knows whole numbers only, so everything is drawn ten times as large and the `viewBox` shrinks it again:
//! lines land on tenths of a pixel.

use super::PlotError;
use super::font::{FAMILY, weight};
use super::scene::{Anchor, Label, Mark, Picture};
use super::style::{Rgb, WHITE};
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontTransform, RGBAColor, RGBColor, ShapeStyle, TextStyle};

const UNITS: f64 = 10.0;

fn unit(v: f64) -> i32 {
    (v * UNITS).round() as i32
}

fn style(color: Rgb, alpha: f64, width: f64) -> ShapeStyle {
    ShapeStyle { color: RGBAColor(color.0, color.1, color.2, alpha), filled: false, stroke_width: unit(width).max(1) as u32 }
}

/// The backend writes `size / 1.24`: the size for which that is short to print, within a hundredth of a unit or two.
fn backend_size(size: f64) -> f64 {
    let wanted = (size * UNITS).round();
    let tries = [0.0, 0.01, -0.01, 0.02, -0.02].map(|off| (wanted + off) * 1.24);
    tries.into_iter().find(|s| format!("{}", s / 1.24).len() <= 7).unwrap_or(wanted * 1.24)
}

/// The document. Cost: linear in the number of points.
pub(super) fn write(picture: &Picture) -> Result<Vec<u8>, PlotError> {
    let mut text = String::new();
    {
        let size = (unit(f64::from(picture.width)), unit(f64::from(picture.height)));
        let mut svg = SVGBackend::with_string(&mut text, (size.0 as u32, size.1 as u32));
        svg.draw_rect((0, 0), size, &style(WHITE, 1.0, 1.0), true).map_err(failed)?;
        for mark in &picture.marks {
            match mark {
                Mark::Rect { x, y, w, h, color } => svg
                    .draw_rect((unit(*x), unit(*y)), (unit(x + w), unit(y + h)), &style(*color, 1.0, 1.0), true)
                    .map_err(failed)?,
                Mark::Line { points, width, color } => {
                    let points = points.iter().map(|p| (unit(p.0), unit(p.1)));
                    svg.draw_path(points, &style(*color, 1.0, *width)).map_err(failed)?;
                }
                Mark::Area { points, color, alpha } => {
                    let points = points.iter().map(|p| (unit(p.0), unit(p.1)));
                    svg.fill_polygon(points, &style(*color, *alpha, 1.0)).map_err(failed)?;
                }
                Mark::Disc { x, y, r, color } => {
                    let r = unit(*r).max(1) as u32;
                    svg.draw_circle((unit(*x), unit(*y)), r, &style(*color, 1.0, 1.0), true).map_err(failed)?;
                }
                Mark::Text(label) => draw_text(&mut svg, label)?,
            }
        }
        svg.present().map_err(failed)?;
    }
    // The backend's own first line has no room for the shrinking view box, nor for round joins.
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let (w, h) = (picture.width, picture.height);
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"{}\" stroke-linejoin=\"round\">\n",
        unit(f64::from(w)),
        unit(f64::from(h)),
        escape(&picture.title)
    );
    Ok((head + body).into_bytes())
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Backend(error.to_string())
}

fn draw_text(svg: &mut SVGBackend, label: &Label) -> Result<(), PlotError> {
    let h_pos = match label.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let font = FontDesc::new(FontFamily::Name(FAMILY), backend_size(label.size), weight(label.bold));
    let font = if label.turned { font.transform(FontTransform::Rotate270) } else { font };
    let color = RGBColor(label.color.0, label.color.1, label.color.2);
    let style = TextStyle::from(font).color(&color).pos(Pos::new(h_pos, VPos::Top));
    // "Top" moves the text down by 0.76 em: taken back here, so that the position is the baseline.
    let lift = 0.76 * label.size;
    let (x, y) = if label.turned { (label.x - lift, label.baseline) } else { (label.x, label.baseline - lift) };
    svg.draw_text(&label.text, &style, (unit(x), unit(y))).map_err(failed)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_out_short() {
        for size in [12.0, 13.0, 13.5, 15.0, 17.0, 9.0] {
            let written = backend_size(size) / 1.24;
            assert!((written - size * 10.0).abs() <= 0.021 && format!("{written}").len() <= 7, "{written}");
        }
    }

    #[test]
    fn text_is_escaped_and_the_view_box_shrinks() {
        let mut picture = Picture::new(100.0, 50.0, "x < \"y\" & z");
        picture.text((10.0, 20.0), "a<b&c", 13.0, false, super::super::style::INK, Anchor::Start);
        let svg = String::from_utf8(write(&picture).expect("draws")).expect("is text");
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"50\" viewBox=\"0 0 1000 500\"")
        );
        assert!(svg.contains("a&lt;b&amp;c") && !svg.contains("a<b"));
        assert!(svg.contains("aria-label=\"x &lt; &quot;y&quot; &amp; z\""));
        assert!(svg.trim_end().ends_with("</svg>") && svg.matches("<svg").count() == 1);
        assert!(svg.contains("font-size=\"130\"") && svg.contains(FAMILY));
    }
}
