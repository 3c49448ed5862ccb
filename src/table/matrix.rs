//! Series that lie in rows (the M4 files) or in an array file (the PEMS files).

use super::frame::{Data, Missing};
use super::{BadInput, FrameOptions, ReadOptions, Source, Want, read_frame};
use npyz::npz::NpzArchive;
use std::io::Cursor;

/// One series a row: the first column holds the ids, the others the values in time order; empty cells at the end are the series'
/// end. Of `read`, the texts for missing values and the header count. Result: (id, values).
///
/// # Errors
/// What makes a table unreadable; a row without values; a missing value before the end of a row.
pub fn read_rows(source: &Source, read: &ReadOptions) -> Result<Vec<(String, Vec<f64>)>, BadInput> {
    let options = FrameOptions { missing: Missing(read.na.clone()), header: read.header };
    let frame = read_frame(source, &options, &|columns| {
        Ok((0..columns.len()).map(|i| if i == 0 { Want::Text } else { Want::Number }).collect())
    })?;
    let file = source.name();
    let Some((first, rest)) = frame.columns.split_first() else { return Err(BadInput::new(file, "has no columns")) };
    let Data::Text(ids) = &first.data else { return Err(BadInput::new(file, "the first column holds no ids")) };
    let numbers: Vec<&[f64]> = rest
        .iter()
        .map(|c| match &c.data {
            Data::Number(v) => Ok(v.as_slice()),
            _ => Err(BadInput::new(file, "a column after the first does not hold numbers").column(c.name.clone())),
        })
        .collect::<Result<_, _>>()?;
    (0..frame.len())
        .map(|i| {
            let row = frame.rows.file_row(i);
            let id = ids.get(i).ok_or_else(|| BadInput::new(file, "the id is missing").row(row))?;
            let mut y: Vec<f64> = numbers.iter().map(|c| c[i]).collect();
            y.truncate(y.iter().rposition(|v| !v.is_nan()).map_or(0, |last| last + 1));
            if y.is_empty() {
                return Err(BadInput::new(file, "the series has no values").row(row));
            }
            match y.iter().position(|v| v.is_nan()) {
                Some(k) => Err(BadInput::new(file, "a value is missing before the end of the series")
                    .row(row)
                    .column(rest[k].name.clone())),
                None => Ok((id.to_string(), y)),
            }
        })
        .collect()
}

/// Feature 0 of the array `name` of shape (time, channels, features) or (time, channels) in an npz file. Result: one series a channel.
///
/// # Errors
/// Not an npz file, no such array, another shape, a type that is no float, a value that is not finite.
pub fn read_npz_feature(file: &str, bytes: &[u8], name: &str) -> Result<Vec<(String, Vec<f64>)>, BadInput> {
    let broken = |e: std::io::Error| BadInput::new(file, format!("is not a readable npz file: {e}"));
    let mut archive = NpzArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let array = archive.by_name(name).map_err(broken)?;
    let Some(array) = array else { return Err(BadInput::new(file, format!("holds no array \"{name}\""))) };
    let shape: Vec<usize> = array.shape().iter().map(|d| *d as usize).collect();
    let (steps, channels, features) = match shape[..] {
        [t, c] => (t, c, 1),
        [t, c, f] if f > 0 => (t, c, f),
        _ => {
            return Err(BadInput::new(
                file,
                format!("array \"{name}\" has shape {shape:?}, expected (time, channels, features)"),
            ));
        }
    };
    if array.order() != npyz::Order::C {
        return Err(BadInput::new(file, format!("array \"{name}\" is in Fortran order, expected C order")));
    }
    let kind = array.dtype().descr();
    let values: Vec<f64> = match kind.as_str() {
        k if k.contains("f8") => array.into_vec().map_err(broken)?,
        k if k.contains("f4") => array.into_vec::<f32>().map_err(broken)?.into_iter().map(f64::from).collect(),
        k => return Err(BadInput::new(file, format!("array \"{name}\" holds {k}, expected float32 or float64"))),
    };
    if steps == 0 || channels == 0 {
        return Err(BadInput::new(file, format!("array \"{name}\" is empty")));
    }
    let series: Vec<(String, Vec<f64>)> =
        (0..channels).map(|c| (c.to_string(), (0..steps).map(|t| values[(t * channels + c) * features]).collect())).collect();
    for (c, y) in &series {
        if let Some(t) = y.iter().position(|v| !v.is_finite()) {
            return Err(BadInput::new(
                file,
                format!("array \"{name}\", step {t}, channel {c}: found {}, expected a number", y[t]),
            ));
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;
    use npyz::npz::NpzWriter;

    #[test]
    fn rows_end_where_their_cells_end() {
        let csv = "\"V1\",\"V2\",\"V3\",\"V4\"\n\"M1\",1,2,3\n\"M2\",4.5,,\n";
        let source = Source::from_bytes("m4.csv", csv.into()).unwrap();
        let rows = read_rows(&source, &ReadOptions::default()).unwrap();
        assert_eq!(rows, [("M1".to_string(), vec![1.0, 2.0, 3.0]), ("M2".to_string(), vec![4.5])]);
        let holed = Source::from_bytes("m4.csv", b"id,a,b\nM1,,2\n".to_vec()).unwrap();
        assert!(read_rows(&holed, &ReadOptions::default()).unwrap_err().to_string().contains("row 2"));
    }

    #[test]
    fn the_first_feature_of_an_array() {
        let mut bytes = Vec::new();
        let mut npz = NpzWriter::new(Cursor::new(&mut bytes));
        let mut w = npz.array("data", Default::default()).unwrap().default_dtype().shape(&[2, 2, 2]).begin_nd().unwrap();
        w.extend((0..8).map(f64::from)).unwrap();
        w.finish().unwrap();
        drop(npz);
        let series = read_npz_feature("p.npz", &bytes, "data").unwrap();
        assert_eq!(series, [("0".to_string(), vec![0.0, 4.0]), ("1".to_string(), vec![2.0, 6.0])]);
        assert!(read_npz_feature("p.npz", &bytes, "flow").unwrap_err().to_string().contains("no array"));
        assert!(read_npz_feature("p.npz", b"PK nonsense", "data").is_err());
    }
}
