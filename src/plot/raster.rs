//! A picture as pixels.
//!
//! plotters' bitmap backend draws at whole pixels and without smooth edges on thick lines and polygons; here every shape is a
//! polygon whose exact share of each pixel is summed, so lines are smooth and translucent shapes never darken where
//! their parts overlap. Glyphs come from plotters' font rasteriser.

use super::font::rasterise;
use super::scene::{Anchor, Label, Mark, Picture, Xy};
use super::style::Rgb;
use std::f64::consts::{FRAC_PI_2, PI, TAU};

/// Cells per pixel in each direction when a glyph is drawn.
const GLYPH_CELLS: i32 = 4;

/// A canvas of red, green, blue bytes, row by row.
pub(super) struct Raster {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// Pixel coverage of a shape inside a box of the canvas.
struct Cover {
    left: i64,
    top: i64,
    width: usize,
    height: usize,
    /// One row per pixel row, two cells wider than the box. Running sums along a row give the signed coverage.
    cells: Vec<f32>,
}

impl Cover {
    /// The part of the shape's bounding box that lies on the canvas; `None` if nothing does.
    fn around(points: &[Xy], margin: f64, (width, height): (usize, usize)) -> Option<Cover> {
        let (mut l, mut t, mut r, mut b) = (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY);
        for &(x, y) in points {
            (l, t, r, b) = (l.min(x), t.min(y), r.max(x), b.max(y));
        }
        let left = (l - margin).floor().clamp(0.0, width as f64);
        let top = (t - margin).floor().clamp(0.0, height as f64);
        let w = (r + margin).ceil().clamp(0.0, width as f64) - left;
        let h = (b + margin).ceil().clamp(0.0, height as f64) - top;
        (w > 0.0 && h > 0.0).then(|| Cover {
            left: left as i64,
            top: top as i64,
            width: w as usize,
            height: h as usize,
            cells: vec![0.0; (w as usize + 2) * h as usize],
        })
    }

    /// Adds a closed polygon, always with the same sense of rotation so that overlapping parts never cancel.
    fn polygon(&mut self, points: &[Xy]) {
        let turn: f64 = closed(points).map(|((x0, y0), (x1, y1))| x0 * y1 - x1 * y0).sum();
        for (from, to) in closed(points) {
            if turn >= 0.0 { self.edge(from, to) } else { self.edge(to, from) }
        }
    }

    /// Adds the area to the right of an edge, row by row and cell by cell.
    fn edge(&mut self, from: Xy, to: Xy) {
        let (max_x, max_y) = (self.width as f64, self.height as f64);
        let shift = |(x, y): Xy| (x - self.left as f64, y - self.top as f64);
        let (a, b) = (shift(from), shift(to));
        let (sign, (x0, y0), (x1, y1)) = if a.1 <= b.1 { (1.0, a, b) } else { (-1.0, b, a) };
        if y1 <= 0.0 || y0 >= max_y || y0 == y1 {
            return;
        }
        let slope = (x1 - x0) / (y1 - y0);
        let (start, end) = (y0.max(0.0), y1.min(max_y));
        let mut row = start.floor() as usize;
        let mut y = start;
        while y < end && row < self.height {
            let next = ((row + 1) as f64).min(end);
            // Left and right of the canvas only the height counts, not the position.
            let at = |y: f64| (x0 + (y - y0) * slope).clamp(0.0, max_x);
            let (p, q) = (at(y), at(next));
            let (p, q) = if p <= q { (p, q) } else { (q, p) };
            self.span(row, p, q, sign * (next - y));
            y = next;
            row += 1;
        }
    }

    /// Spreads the height `d` of an edge piece inside one row over the cells between `p` and `q`.
    fn span(&mut self, row: usize, p: f64, q: f64, d: f64) {
        let cells = &mut self.cells[row * (self.width + 2)..(row + 1) * (self.width + 2)];
        let mut put = |cell: usize, middle: f64, d: f64| {
            let right = middle - cell as f64;
            cells[cell] += (d * (1.0 - right)) as f32;
            cells[cell + 1] += (d * right) as f32;
        };
        let (first, last) = (p.floor() as usize, q.floor() as usize);
        if first == last || q - p < 1e-9 {
            put(first, (p + q) / 2.0, d);
            return;
        }
        for cell in first..=last {
            let (a, b) = (p.max(cell as f64), q.min((cell + 1) as f64));
            if b > a {
                put(cell, (a + b) / 2.0, d * (b - a) / (q - p));
            }
        }
    }
}

fn closed(points: &[Xy]) -> impl Iterator<Item = (Xy, Xy)> + '_ {
    points.iter().copied().zip(points.iter().copied().cycle().skip(1))
}

impl Raster {
    fn new(width: usize, height: usize) -> Raster {
        Raster { width, height, rgb: vec![255; 3 * width * height] }
    }

    fn blend(&mut self, x: usize, y: usize, Rgb(r, g, b): Rgb, alpha: f32) {
        let at = 3 * (y * self.width + x);
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip([r, g, b]) {
            let mixed = f32::from(*old) + (f32::from(new) - f32::from(*old)) * alpha;
            *old = (mixed + 0.5) as u8;
        }
    }

    fn paint(&mut self, cover: &Cover, color: Rgb, alpha: f64) {
        for row in 0..cover.height {
            let mut sum = 0.0f32;
            for cell in 0..cover.width {
                sum += cover.cells[row * (cover.width + 2) + cell];
                let share = sum.abs().min(1.0) * alpha as f32;
                if share > 1.0 / 512.0 {
                    self.blend(cover.left as usize + cell, cover.top as usize + row, color, share);
                }
            }
        }
    }

    fn polygon(&mut self, points: &[Xy], color: Rgb, alpha: f64) {
        if let Some(mut cover) = Cover::around(points, 0.0, (self.width, self.height)) {
            cover.polygon(points);
            self.paint(&cover, color, alpha);
        }
    }

    /// A line as one rectangle per piece, and at each corner the round wedge that two rectangles leave open.
    fn line(&mut self, points: &[Xy], width: f64, color: Rgb) {
        let half = width / 2.0;
        let Some(mut cover) = Cover::around(points, half + 1.0, (self.width, self.height)) else { return };
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            if length > 0.0 {
                let (nx, ny) = (-(y1 - y0) / length * half, (x1 - x0) / length * half);
                cover.polygon(&[(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)]);
            }
        }
        for corner in points.windows(3) {
            if let Some(wedge) = wedge(corner[0], corner[1], corner[2], half) {
                cover.polygon(&wedge);
            }
        }
        self.paint(&cover, color, 1.0);
    }

    fn text(&mut self, label: &Label, scale: f64) {
        let (left, top, right, bottom) = label.bounds();
        let (x, y) = match (label.turned, label.anchor) {
            (false, _) => (left, label.baseline),
            (true, Anchor::Start) => (label.x, label.baseline),
            (true, _) => (label.x, bottom),
        };
        let corners = [(left * scale, top * scale), (right * scale, bottom * scale)];
        // Accents and descenders may pass the nominal box.
        let Some(mut cover) = Cover::around(&corners, label.size * scale / 2.0, (self.width, self.height)) else { return };
        let cells = f64::from(GLYPH_CELLS);
        let origin = ((x * scale * cells).round() as i64, (y * scale * cells).round() as i64);
        let share = 1.0 / (cells * cells) as f32;
        rasterise(&label.text, label.size * scale * cells, label.bold, |x, y, coverage| {
            let (dx, dy) = if label.turned { (i64::from(y), -i64::from(x) - 1) } else { (i64::from(x), i64::from(y)) };
            let column = (origin.0 + dx).div_euclid(i64::from(GLYPH_CELLS)) - cover.left;
            let row = (origin.1 + dy).div_euclid(i64::from(GLYPH_CELLS)) - cover.top;
            if (0..cover.width as i64).contains(&column) && (0..cover.height as i64).contains(&row) {
                // The painter takes running sums: add here, take away one cell later.
                let at = row as usize * (cover.width + 2) + column as usize;
                cover.cells[at] += coverage * share;
                cover.cells[at + 1] -= coverage * share;
            }
        });
        self.paint(&cover, label.color, 1.0);
    }
}

/// The sector around `at` on the outer side of the turn from `a` to `b`; `None` where the line goes straight on.
///
/// A whole disc would do for the shape, but its edge would be counted on top of the edges of the rectangles, and a
/// straight line would look knotted.
fn wedge(a: Xy, at: Xy, b: Xy, r: f64) -> Option<Vec<Xy>> {
    let (from, to) = ((at.1 - a.1).atan2(at.0 - a.0), (b.1 - at.1).atan2(b.0 - at.0));
    let mut turn = to - from;
    if turn > PI {
        turn -= TAU;
    } else if turn < -PI {
        turn += TAU;
    }
    if a == at || b == at || turn.abs() < 0.02 {
        return None;
    }
    // The outer side lies to the right of a left turn and the other way round.
    let start = from - FRAC_PI_2 * turn.signum();
    let steps = (turn.abs() / 0.3).ceil().max(1.0) as u32;
    let arc = (0..=steps).map(|i| start + turn * f64::from(i) / f64::from(steps));
    Some(std::iter::once(at).chain(arc.map(|t| (at.0 + r * t.cos(), at.1 + r * t.sin()))).collect())
}

/// A regular polygon that no eye tells from a disc of the radius.
fn disc((x, y): Xy, r: f64) -> Vec<Xy> {
    let corners = if r < 2.0 { 12 } else { 32 };
    (0..corners)
        .map(|i| {
            let (sin, cos) = (TAU * f64::from(i) / f64::from(corners)).sin_cos();
            (x + r * cos, y + r * sin)
        })
        .collect()
}

/// Draws the picture with `scale` pixels per unit. Cost: the sum of the marks' bounding boxes.
pub(super) fn draw(picture: &Picture, scale: f64) -> Raster {
    let side = |v: u32| (f64::from(v) * scale).ceil().max(1.0) as usize;
    let mut raster = Raster::new(side(picture.width), side(picture.height));
    let zoom = |points: &[Xy]| -> Vec<Xy> { points.iter().map(|&(x, y)| (x * scale, y * scale)).collect() };
    for mark in &picture.marks {
        match mark {
            Mark::Rect { x, y, w, h, color } => {
                raster.polygon(&zoom(&[(*x, *y), (x + w, *y), (x + w, y + h), (*x, y + h)]), *color, 1.0);
            }
            Mark::Line { points, width, color } => raster.line(&zoom(points), width * scale, *color),
            Mark::Area { points, color, alpha } => raster.polygon(&zoom(points), *color, *alpha),
            Mark::Disc { x, y, r, color } => raster.polygon(&disc((x * scale, y * scale), r * scale), *color, 1.0),
            Mark::Text(label) => raster.text(label, scale),
        }
    }
    raster
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Rgb = Rgb(0, 0, 0);

    /// Darkness of the whole canvas in pixels of pure black.
    fn ink(raster: &Raster) -> f64 {
        raster.rgb.iter().map(|&v| 255.0 - f64::from(v)).sum::<f64>() / (3.0 * 255.0)
    }

    #[test]
    fn coverage_is_the_exact_area() {
        for shape in [
            vec![(2.0, 2.0), (7.0, 2.0), (7.0, 5.0), (2.0, 5.0)],
            vec![(2.25, 3.5), (8.75, 3.5), (8.75, 6.25), (2.25, 6.25)],
            vec![(1.0, 1.0), (17.5, 4.0), (6.0, 18.0)],
            vec![(6.0, 18.0), (17.5, 4.0), (1.0, 1.0)],
        ] {
            let mut raster = Raster::new(20, 20);
            raster.polygon(&shape, BLACK, 1.0);
            let area: f64 = closed(&shape).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>().abs() / 2.0;
            // Every pixel is rounded to 1/255; at most some 60 pixels lie on an edge.
            assert!((ink(&raster) - area).abs() < 60.0 * 0.5 / 255.0, "{} {area}", ink(&raster));
        }
    }

    #[test]
    fn shapes_beyond_the_canvas_are_cut() {
        let mut raster = Raster::new(10, 10);
        raster.polygon(&[(-50.0, -50.0), (60.0, -50.0), (60.0, 60.0), (-50.0, 60.0)], BLACK, 1.0);
        assert!((ink(&raster) - 100.0).abs() < 1e-9);
        let mut raster = Raster::new(10, 10);
        raster.polygon(&[(-5.0, 2.0), (5.0, 2.0), (5.0, 4.0), (-5.0, 4.0)], BLACK, 1.0);
        raster.polygon(&[(40.0, 2.0), (50.0, 2.0), (50.0, 4.0)], BLACK, 1.0);
        assert!((ink(&raster) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_line_that_crosses_itself_is_not_darker_nor_holed() {
        let mut raster = Raster::new(40, 40);
        raster.line(&[(5.0, 5.0), (35.0, 35.0), (35.0, 5.0), (5.0, 35.0)], 6.0, BLACK);
        let at = 3 * (20 * 40 + 20);
        assert_eq!(raster.rgb[at], 0);
        let mut straight = Raster::new(40, 40);
        straight.line(&[(5.0, 20.0), (20.0, 20.0), (35.0, 20.0)], 3.0, BLACK);
        // Length times width; the disc in the middle adds nothing.
        assert!((ink(&straight) - 90.0).abs() < 0.5, "{}", ink(&straight));
    }

    #[test]
    fn corners_are_round_and_straight_lines_have_no_knots() {
        let mut bent = Raster::new(60, 60);
        bent.line(&[(10.0, 50.0), (30.0, 10.0), (50.0, 50.0)], 8.0, BLACK);
        // The tip ends half a width above the corner, whatever the angle.
        let column = |y: usize| bent.rgb[3 * (y * 60 + 30)];
        assert!(column(4) == 255 && column(7) < 40, "{} {}", column(4), column(7));
        let mut flat = Raster::new(60, 10);
        let points: Vec<Xy> = (0..12).map(|i| (5.0 * f64::from(i), 5.3)).collect();
        flat.line(&points, 3.0, BLACK);
        let row = |y: usize| (2..54).map(move |x| 3 * (y * 60 + x));
        for y in 0..10 {
            assert!(row(y).all(|at| flat.rgb[at] == flat.rgb[3 * (y * 60 + 20)]), "row {y} is knotted");
        }
    }

    #[test]
    fn half_transparent_areas_blend_once() {
        let mut raster = Raster::new(10, 10);
        raster.polygon(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)], BLACK, 0.5);
        assert!(raster.rgb.iter().all(|&v| v == 127 || v == 128));
    }

    #[test]
    fn turned_text_has_the_same_ink() {
        let mut label = Label {
            text: "0.381".into(),
            x: 50.0,
            baseline: 50.0,
            size: 13.0,
            bold: false,
            color: BLACK,
            anchor: Anchor::Start,
            turned: false,
        };
        let mut flat = Raster::new(200, 200);
        flat.text(&label, 2.0);
        label.turned = true;
        let mut turned = Raster::new(200, 200);
        turned.text(&label, 2.0);
        // Same cells in other pixels: only rounding to bytes differs.
        assert!(ink(&flat) > 100.0 && (ink(&flat) - ink(&turned)).abs() < 1.5, "{} {}", ink(&flat), ink(&turned));
    }
}
