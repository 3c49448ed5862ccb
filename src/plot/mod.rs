//! Every picture: data in, the bytes of an SVG or PNG file out. Nothing here reads, writes or prints.
//!
//! A chart function ([`forecast_chart`], [`backtest_chart`], [`error_by_horizon`], [`bars()`]) returns a [`Picture`], a list of
//! marks in pixels; [`render`] turns it into a file. Both formats show the same marks, and the font (DejaVu Sans)
//! is part of the program, so the same data gives the same bytes on every machine.
//!
//! The SVG text is written by plotters, and so are the glyphs of the PNG; layout and axis marks are our own, because
//! labels must never meet or be cut whatever the data is.

mod axes;
mod backtest;
mod bars;
pub mod clusters;
pub mod decomposition;
mod errors;
mod font;
mod forecast;
mod png;
mod raster;
mod scene;
mod style;
mod svg;
mod ticks;

pub use axes::TimeKind;
pub use backtest::{BacktestOptions, backtest_chart};
pub use bars::{BarGroup, bars};
pub use errors::{Curve, error_by_horizon, loss_by_epoch};
pub use forecast::{Band, ForecastOptions, ForecastPanel, MOST_PANELS, ModelForecast, forecast_chart, readable_tail};
pub use scene::Picture;

use std::path::Path;

/// Width of a picture with one chart, in pixels.
pub const WIDTH: u32 = 1000;
/// Height of a picture with one chart, in pixels.
pub const HEIGHT: u32 = 560;

/// A PNG has two pixels per unit of the layout: sharp on today's screens, and the file says so (192 dots per inch).
const PNG_SCALE: f64 = 2.0;

/// The file formats a picture can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// Scalable vector graphics: text stays text.
    Svg,
    /// Portable network graphics.
    Png,
}

impl PictureFormat {
    /// The format that a file name asks for by its extension, upper or lower case.
    ///
    /// Errors: [`PlotError::Format`] for any other extension or none.
    pub fn from_path(path: &Path) -> Result<PictureFormat, PlotError> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("svg") => Ok(PictureFormat::Svg),
            Some("png") => Ok(PictureFormat::Png),
            _ => Err(PlotError::Format(path.display().to_string())),
        }
    }
}

/// Why a picture could not be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// There is nothing that could be drawn; says what was looked for.
    #[error("nothing to draw: {0}")]
    Empty(String),
    /// The file name names no known format.
    #[error("cannot tell the picture format of {0:?}: the name must end in .svg or .png")]
    Format(String),
    /// Two lists that belong together differ in length.
    #[error("{what}: found {found}, expected {expected}")]
    Length {
        /// Which list.
        what: String,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// The picture has no pixels, or more than the format can hold.
    #[error("a picture of this size cannot be written")]
    Size,
    /// The drawing library failed.
    #[error("drawing failed: {0}")]
    Backend(String),
}

/// The file's bytes. The same picture always gives the same bytes.
///
/// An SVG has the size of [`Picture::size`]; a PNG has twice as many pixels each way and is marked as such.
/// Errors: [`PlotError::Backend`] if the drawing library fails. Cost: a few hundredths of a second for one chart.
pub fn render(picture: &Picture, format: PictureFormat) -> Result<Vec<u8>, PlotError> {
    match format {
        PictureFormat::Svg => svg::write(picture),
        PictureFormat::Png => png::write(&raster::draw(picture, PNG_SCALE), PNG_SCALE),
    }
}

#[cfg(test)]
mod tests;
