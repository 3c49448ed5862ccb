//! Pixels as a PNG file (W3C PNG specification, third edition: colour type 2, eight bits, not interlaced).

use super::PlotError;
use super::raster::Raster;
use flate2::{Compression, Crc, write::ZlibEncoder};
use std::io::Write;

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// Pixels per metre at the normal density of 96 dots per inch.
const NORMAL_DENSITY: f64 = 96.0 / 0.0254;

/// The file. `scale` is stored as the density, so that a viewer can show the picture at its normal size.
///
/// Errors: [`PlotError::Size`] if a side does not fit the format. Cost: five passes over the pixels and one compression.
pub(super) fn write(raster: &Raster, scale: f64) -> Result<Vec<u8>, PlotError> {
    let side = |v: usize| u32::try_from(v).ok().filter(|&v| v > 0 && v <= i32::MAX as u32).ok_or(PlotError::Size);
    let (width, height) = (side(raster.width)?, side(raster.height)?);
    let mut header = Vec::with_capacity(13);
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let density = ((NORMAL_DENSITY * scale).round() as u32).to_be_bytes();
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"pHYs", &[&density[..], &density[..], &[1]].concat());
    let squeezed = |e: std::io::Error| PlotError::Backend(e.to_string());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let stride = 3 * raster.width;
    let mut above = vec![0; stride];
    for row in raster.rgb.chunks_exact(stride) {
        zlib.write_all(&filtered(row, &above)).map_err(squeezed)?;
        above.copy_from_slice(row);
    }
    chunk(&mut file, b"IDAT", &zlib.finish().map_err(squeezed)?);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
}

/// The row under the filter that leaves the smallest sum of absolute differences (the specification's own advice).
fn filtered(row: &[u8], above: &[u8]) -> Vec<u8> {
    let left = |i: usize| if i < 3 { 0 } else { row[i - 3] };
    let corner = |i: usize| if i < 3 { 0 } else { above[i - 3] };
    let guess = |kind: u8, i: usize| match kind {
        0 => 0,
        1 => left(i),
        2 => above[i],
        _ => paeth(left(i), above[i], corner(i)),
    };
    let with = |kind: u8| -> Vec<u8> {
        std::iter::once(if kind == 3 { 4 } else { kind })
            .chain((0..row.len()).map(|i| row[i].wrapping_sub(guess(kind, i))))
            .collect()
    };
    let cost = |line: &Vec<u8>| line[1..].iter().map(|&v| u64::from((v as i8).unsigned_abs())).sum::<u64>();
    (1..4).map(with).fold(with(0), |best, line| if cost(&line) < cost(&best) { line } else { best })
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let (a, b, c) = (i32::from(left), i32::from(above), i32::from(corner));
    let (pa, pb, pc) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if pa <= pb && pa <= pc {
        left
    } else if pb <= pc {
        above
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::ZlibDecoder;
    use std::io::Read;

    /// Reads back what `write` wrote, checking every checksum.
    fn read(file: &[u8]) -> Raster {
        assert_eq!(file[..8], SIGNATURE);
        let (mut at, mut width, mut height, mut data) = (8, 0, 0, Vec::new());
        while at < file.len() {
            let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            let (kind, body) = (&file[at + 4..at + 8], &file[at + 8..at + 8 + length]);
            let mut crc = Crc::new();
            crc.update(&file[at + 4..at + 8 + length]);
            assert_eq!(file[at + 8 + length..at + 12 + length], crc.sum().to_be_bytes());
            match kind {
                b"IHDR" => {
                    width = u32::from_be_bytes(body[..4].try_into().unwrap()) as usize;
                    height = u32::from_be_bytes(body[4..8].try_into().unwrap()) as usize;
                }
                b"IDAT" => data.extend(body),
                _ => {}
            }
            at += 12 + length;
        }
        let mut lines = Vec::new();
        ZlibDecoder::new(&data[..]).read_to_end(&mut lines).unwrap();
        let mut rgb: Vec<u8> = Vec::new();
        let stride = 3 * width;
        for (y, line) in lines.chunks_exact(stride + 1).enumerate() {
            for i in 0..stride {
                let left = if i < 3 { 0 } else { rgb[y * stride + i - 3] };
                let above = if y == 0 { 0 } else { rgb[(y - 1) * stride + i] };
                let corner = if y == 0 || i < 3 { 0 } else { rgb[(y - 1) * stride + i - 3] };
                let guess = match line[0] {
                    0 => 0,
                    1 => left,
                    2 => above,
                    4 => paeth(left, above, corner),
                    other => panic!("filter {other}"),
                };
                rgb.push(line[i + 1].wrapping_add(guess));
            }
        }
        Raster { width, height, rgb }
    }

    #[test]
    fn a_written_picture_reads_back() {
        let (width, height) = (17, 9);
        // A gradient, flat parts and noise, so that every filter is chosen somewhere.
        let rgb: Vec<u8> = (0..3 * width * height)
            .map(|i| match i / (3 * width) {
                0..3 => (i * 5) as u8,
                3..6 => 200,
                _ => (i * i * 31 + i / 7) as u8,
            })
            .collect();
        let back = read(&write(&Raster { width, height, rgb: rgb.clone() }, 2.0).unwrap());
        assert_eq!((back.width, back.height), (width, height));
        assert_eq!(back.rgb, rgb);
    }

    #[test]
    fn an_empty_picture_is_refused() {
        assert_eq!(write(&Raster { width: 0, height: 3, rgb: vec![] }, 1.0), Err(PlotError::Size));
    }
}
