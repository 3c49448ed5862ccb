//! Every format against known tensors, against each other, and against what people do to files.

use super::input::Input;
use super::*;
use crate::table::{Format, Table, Values, write_table};
use crate::tensor::model::{Kruskal, Matrix, Train, Tucker};
use crate::testing::shared;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn open(path: &std::path::Path, options: &ReadOptions) -> TensorInput<f64> {
    read_tensor(path.to_str().unwrap(), options).unwrap()
}

fn read_as<T: Real>(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    read_from(Input::from_bytes(name, bytes.to_vec())?, options)
}

fn read(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Result<TensorInput<f64>, BadInput> {
    read_as(name, bytes.as_ref(), options)
}

#[track_caller]
fn refused(name: &str, bytes: impl AsRef<[u8]>, options: &ReadOptions) -> String {
    read(name, bytes, options).map(|r| r.data).unwrap_err().to_string()
}

fn plain() -> ReadOptions {
    ReadOptions::default()
}

fn sparse() -> ReadOptions {
    ReadOptions { storage: Storage::Sparse, ..plain() }
}

fn absent() -> ReadOptions {
    ReadOptions { missing: Some(Missing::Absent), ..plain() }
}

fn table(coords: &str) -> ReadOptions {
    ReadOptions { coords: coords.split(',').map(str::to_owned).collect(), ..plain() }
}

/// A sum of n numbers in any order is within n·eps/2 of the exact one, relative to the sum of sizes; so are norms.
fn near(found: f64, wanted: f64, n: usize, size: f64) {
    assert!((found - wanted).abs() <= n as f64 * f64::EPSILON * size, "{found} for {wanted}");
}

#[test]
fn splatt_files_agree_whatever_they_count_from() {
    let (Some(one), Some(zero)) = (shared("splatt/small4.tns"), shared("splatt/small4_zeroidx.tns")) else { return };
    let one = open(&one, &sparse());
    let zero = open(&zero, &sparse());
    assert_eq!(one.data, zero.data);
    assert_eq!(one.data.shape(), [2, 2, 3, 3]);
    let stats = statistics(&one);
    assert_eq!((stats.norm * stats.norm).round(), 97.0);
    near(stats.norm, 97f64.sqrt(), 8, 10.0);
    assert_eq!((stats.nnz, stats.held, stats.cells), (8, 8, 36.0));
    assert_eq!((stats.min, stats.max), (0.0, 5.0), "the cells that are not listed are zero");
    assert_eq!(zero.notes.len(), 1, "modes that differ are worth a note");
    assert!(one.notes.is_empty());
}

#[test]
fn amino_acid_has_the_numbers_of_the_specification() {
    let Some(path) = shared("aminoacid/aminoacid.tns") else { return };
    let input = open(&path, &plain());
    assert!(matches!(input.data, TensorData::Dense(_)), "every cell is listed");
    let stats = statistics(&input);
    assert_eq!(stats.shape, [5, 201, 61]);
    assert_eq!((stats.held, stats.min, stats.max), (61_305, -6.204, 938.499));
    near(stats.norm, 47991.95013208926, 61_305, 47992.0);
    near(stats.sum, 6896373.007, 61_305, 6896373.0);
    // The same as coordinates; the slices agree.
    let coo = open(&path, &sparse());
    let by_entries = statistics(&coo);
    near(by_entries.norm, stats.norm, 61_305, 47992.0);
    for (a, b) in stats.modes.iter().zip(&by_entries.modes) {
        assert_eq!((a.size, a.empty, a.most, a.fewest, a.largest), (b.size, b.empty, b.most, b.fewest, b.largest));
        near(a.largest_norm, b.largest_norm, 61_305, a.largest_norm);
    }
    // Written and read again.
    let mut text = Vec::new();
    write_tns(&input.data, &mut text).unwrap();
    assert_eq!(read("a.tns", &text, &plain()).unwrap().data, input.data);
}

#[test]
fn il2_has_192_cells_that_were_not_observed() {
    let Some(path) = shared("il2/il2_response.npy") else { return };
    let input = open(&path, &absent());
    let TensorData::Masked(masked) = &input.data else { panic!() };
    assert_eq!(masked.observed.iter().filter(|o| !**o).count(), 192);
    let stats = statistics(&input);
    assert_eq!((stats.shape.as_slice(), stats.held, stats.unobserved, stats.nan), (&[13, 4, 12, 8][..], 4800, 192, 192));
    near(stats.norm, 18.436781202632684, 4800, 18.5);
    near(stats.sum, 738.0694193682, 4800, 738.1);
    let zero = ReadOptions { missing: Some(Missing::Zero), ..plain() };
    assert!(matches!(open(&path, &zero).data, TensorData::Dense(_)));
    let e = read_tensor::<f64>(path.to_str().unwrap(), &plain()).unwrap_err().to_string();
    assert!(e.contains("found NaN") && e.contains("cell [") && e.contains("--missing absent"), "{e}");
}

#[test]
fn coordinates_as_people_write_them() {
    let plain_text = "1 1 2.5\n2 3 -1e-3\n";
    let wanted = read("t", plain_text, &sparse()).unwrap().data;
    for text in [
        "1 1 2.5\r\n2 3 -1e-3\r\n",
        "1 1 2.5\n2 3 -1e-3",
        "\u{FEFF}1 1 2.5\n2 3 -1e-3\n",
        "# head\n\n  1\t1   2.5 # remark\n#between\n2 3 -.001\n\n",
        "+1 1 +2.5\n2 3 -1E-3\n",
        "0 0 2.5\n1 2 -0.001\n",
        "000000000001 1 2.5\n2 3 -1e-3\n",
    ] {
        assert_eq!(read("t", text, &sparse()).unwrap().data, wanted, "{text:?}");
    }
    let TensorData::Sparse(s, Absent::Zero) = wanted else { panic!() };
    assert_eq!((s.shape(), s.values()), (&[2, 3][..], &[2.5, -1e-3][..]));
}

#[test]
fn index_bases_and_shapes() {
    let base = |base| ReadOptions { base, ..sparse() };
    let shape = |text: &str, o: &ReadOptions| read("t", text, o).unwrap().data.shape().to_vec();
    assert_eq!(shape("1 1 2\n2 3 1\n", &plain()), [2, 3]);
    assert_eq!(shape("1 1 2\n2 3 1\n", &base(IndexBase::Zero)), [3, 4]);
    // Each mode for itself.
    assert_eq!(shape("0 1 2\n2 3 1\n", &plain()), [3, 3]);
    let e = refused("t", "1 1 2\n# x\n0 3 1\n", &base(IndexBase::One));
    assert!(e.starts_with("t, row 3, column \"index 1\": found the index 0, expected indices from 1 (if"), "{e}");
    let given = |s: &[usize]| ReadOptions { shape: Some(s.to_vec()), ..sparse() };
    assert_eq!(shape("1 1 2\n2 3 1\n", &given(&[5, 4])), [5, 4]);
    let e = refused("t", "1 1 2\n\n2 3 1\n1 9 1\n2 8 1\n", &given(&[2, 7]));
    assert!(e.starts_with("t, row 4, column \"index 2\": found the index 9, expected at most 7"), "{e}");
    let e = refused("t", "1 1 2\n", &given(&[2, 7, 1]));
    assert!(e.contains("has 2 modes"), "{e}");
    // The shape line of our own writer keeps empty slices.
    assert_eq!(shape("# shoal shape 4 9\n1 1 2\n", &plain()), [4, 9]);
    let (bytes, o) = (write_npy(&[2, 2], &[1.0; 4]), given(&[2, 3]));
    assert!(refused("t.npy", bytes, &o).contains("its shape is [2, 2], expected [2, 3]"));
}

#[test]
fn what_is_wrong_with_coordinates_is_said_with_its_place() {
    let cases: &[(&str, &str)] = &[
        ("1 1 1 2.0\n1 2 3\n", "t, row 2: found 3 fields, expected 4 fields: 3 indices and a value"),
        ("1 1 1 2.0\n1 2 1 2.0 7\n", "t, row 2: found 5 fields"),
        ("# c\n1 1 2.0\n1 -2 3.0\n", "t, row 3, column \"index 2\": found \"-2\", expected an index, which is never negative"),
        ("1 1 2.0\n1 2.5 3.0\n", "t, row 2, column \"index 2\": found \"2.5\", expected a whole number"),
        ("1 1 2.0\n1 2.0 3.0\n", "expected a whole number"),
        ("1 1 2.0\n1 x 3.0\n", "t, row 2, column \"index 2\": found \"x\""),
        ("1 1 2.0\n5000000000 1 3.0\n", "found \"5000000000\", expected an index of at most 4294967295"),
        ("1 1 2.0\n99999999999999999999999 1 3.0\n", "expected an index of at most 4294967295"),
        ("1 1 2.0\n1 2 abc\n", "t, row 2, column \"value\": found \"abc\", expected a number"),
        ("1 1 2.0\n1 2 inf\n", "found \"inf\", expected a finite number"),
        ("1 1 2.0\n1 2 1e999\n", "expected a finite number"),
        ("1 1 2.0\n1 2 nan\n", "t, row 2, column \"value\": found \"nan\", expected a number (a missing value must be asked for"),
        ("5\n6\n", "t, row 1: found one field, \"5\", expected indices and a value"),
        (&"1 ".repeat(66), "t, row 1: found 66 fields, expected at most 64 indices and a value"),
        ("1 1 2.0\r2 2 3.0\r", "t, row 1: lines end with a carriage return alone"),
        ("# nothing\n", "t: holds no entries"),
        ("\n \n", "t: the file holds nothing but blanks"),
        (
            "1 2 3.0\n2 1 1.0\n# c\n1 2 5.0\n",
            "t, rows 1 and 4: both hold the cell [0, 1] (counted from 0) (say what to do with --duplicates",
        ),
        ("i j value\n1 1 2\n", "t, row 1, column \"index 1\": found \"i\", expected a whole number (for a table with a header"),
    ];
    for (text, wanted) in cases {
        let e = refused("t", text, &plain());
        assert!(e.contains(wanted), "{text:?}: {e}");
    }
    let e = refused("t", b"1 1 2.0\n1 \xFF 3.0\n", &plain());
    assert!(e.starts_with("t, row 2, column \"index 2\": found the byte 0xFF"), "{e}");
    let e = refused("t", b"1 1 2.0\n1 1 \xC3\x28\n", &plain());
    assert!(e.contains("found the byte 0xC3, expected a number"), "{e}");
    assert!(refused("t", b"\xFF\xFE1\0 \0", &plain()).contains("UTF-16"));
    assert!(refused("t", b"1 1\0 2", &plain()).contains("zero byte at byte 4"));
    assert!(refused("t", b"", &plain()).contains("the file is empty"));
    assert!(refused("t", "1,1,2.5\n", &plain()).contains("--coords"));
    assert!(refused("t.tns", "1,1,2.5\n", &plain()).contains("found one field"));
    // Beyond f32.
    let e = read_as::<f32>("t", b"1 1 1.0\n1 2 1e300\n", &plain()).unwrap_err().to_string();
    assert!(e.contains("row 2") && e.contains("--dtype f64"), "{e}");
}

#[test]
fn a_huge_mode_costs_nothing() {
    // Three entries in 4e9 x 4e9 x 2: a factor of 32 GB, a dense tensor of 3e20 bytes.
    let input = read("t", "4000000000 1 1 1.0\n7 4000000000 2 2.0\n4000000000 3 1 -3.0\n", &plain()).unwrap();
    let TensorData::Sparse(s, Absent::Zero) = &input.data else { panic!() };
    assert_eq!(s.shape(), [4_000_000_000, 4_000_000_000, 2]);
    let stats = statistics(&input);
    assert_eq!(stats.modes[0].empty, 3_999_999_998);
    assert_eq!((stats.modes[0].largest, stats.modes[0].most), (3_999_999_999, 2));
    assert_eq!((stats.min, stats.max, stats.unobserved), (-3.0, 2.0, 0));
    let input = read("t", "4000000000 1 1 1.0\n7 4000000000 2 2.0\n", &absent()).unwrap();
    assert!(matches!(input.data, TensorData::Sparse(_, Absent::Unobserved)));
    // Keys of more than 64 bits, not sorted, one cell twice.
    let e = refused("t", "4000000000 1 1 1.0\n7 4000000000 2 2.0\n4000000000 1 1 -3.0\n", &plain());
    assert!(e.contains("rows 1 and 3"), "{e}");
}

#[test]
fn missing_and_absent_cells() {
    // One NaN, one cell absent, of 2 x 2.
    let text = "1 1 1.0\n1 2 nan\n2 2 4.0\n";
    let masked = read("t", text, &ReadOptions { storage: Storage::Dense, ..absent() }).unwrap();
    let TensorData::Masked(m) = &masked.data else { panic!() };
    assert_eq!((m.tensor.values(), &m.observed[..]), (&[1.0, 0.0, 0.0, 4.0][..], &[true, false, false, true][..]));
    assert_eq!(masked.nan, 1);
    let zero = read("t", text, &ReadOptions { missing: Some(Missing::Zero), storage: Storage::Dense, ..plain() }).unwrap();
    let TensorData::Dense(d) = &zero.data else { panic!() };
    assert_eq!((d.values(), zero.nan), (&[1.0, 0.0, 0.0, 4.0][..], 1));
    // Rows keep their numbers behind a NaN.
    let e = refused("t", "1 1 1.0\n1 2 nan\n2 2 4.0\n1 1 3.0\n", &absent());
    assert!(e.contains("rows 1 and 4"), "{e}");
    // A slice whose only entry is NaN is a slice all the same.
    let input = read("t", "1 1 1.0\n3 2 nan\n", &absent()).unwrap();
    assert_eq!(input.data.shape(), [3, 2]);
    assert!(refused("t", "1 1 nan\n", &absent()).contains("every entry is missing"));
    // Statistics count what is observed.
    let stats = statistics(&masked);
    assert_eq!((stats.held, stats.unobserved, stats.min, stats.max, stats.sum), (2, 2, 1.0, 4.0, 5.0));
}

#[test]
fn genten_files() {
    let sp = "sptensor\n3\n4 2 3\n3\n0 0 0 1.5\n3 1 2 -2.0\n1 0 1 4\n";
    let wanted = read("t", sp, &sparse()).unwrap();
    assert_eq!((wanted.format, wanted.data.shape()), (TensorFormat::Genten, &[4, 2, 3][..]));
    let one = "// from GenTen\nsptensor indices-start-at-one\n3\n4 2 3\n3\n1 1 1 1.5\n// x\n4 2 3 -2.0\n2 1 2 4";
    assert_eq!(read("t", one, &sparse()).unwrap().data, wanted.data);
    // The header keeps empty slices, and its shape is the law.
    assert_eq!(read("t", "sptensor\n2\n9 9\n1\n0 0 1\n", &sparse()).unwrap().data.shape(), [9, 9]);
    // Column-major values.
    let dense = read("t", "tensor\n3\n2 3 2\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", &plain()).unwrap();
    let TensorData::Dense(d) = &dense.data else { panic!() };
    assert_eq!(d.values(), [1.0, 7.0, 3.0, 9.0, 5.0, 11.0, 2.0, 8.0, 4.0, 10.0, 6.0, 12.0]);
    let matrix = read("t", "facmatrix\n2\n2 3\n1 2 3\n4 5 6\n", &plain()).unwrap();
    let TensorData::Dense(d) = &matrix.data else { panic!() };
    assert_eq!((d.shape(), d.values()), (&[2, 3][..], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
    for (text, said) in [
        ("sptensor\n3\n4 2 3\n4\n0 0 0 1.5\n", "holds 1 entries, its header says 4"),
        ("sptensor\n3\n4 2 3\n1\n4 0 0 1.5\n", "t, row 5, column \"index 1\": found the index 4, expected 0 to 3"),
        ("sptensor indices-start-at-one\n3\n4 2 3\n1\n4 0 1 1.5\n", "column \"index 2\": found the index 0, expected 1 to 2"),
        ("sptensor zero\n", "t, row 1: found \"zero\", expected indices-start-at-zero"),
        ("sptensor\n3\n4 2\n", "t, row 3: found 2 numbers, expected 3"),
        ("sptensor\n3\n4 x 2\n", "found \"x\", expected the sizes of the modes"),
        ("sptensor\n3\n4 0 2\n", "found the size 0"),
        ("sptensor\n3\n", "ends before the sizes of the modes"),
        ("sptensor\n1000000\n4 0 2\n", "a number of modes from 1 to 64"),
        ("sptensor\n1\n5\n0\n", "holds no entries"),
        ("tensor\n2\n2 2\n1\n2\n3\n", "holds 3 values, its shape has 4 cells"),
        ("tensor\n2\n2 2\n1\n2\n3\n4\n5\n", "holds more than 4 values"),
        ("tensor\n2\n2 2\n1\nx\n3\n4\n", "t, row 5: found \"x\", expected a number"),
        ("tensor\n2\n2 2\n1\nnan\n3\n4\n", "t, row 5: found \"nan\""),
        ("tensor\n3\n4000000000 4000000000 4000000000\n1\n", "larger than memory can be"),
        ("matrix\n2\n2 2\n1 2 3\n4\n", "t, row 4: found 3 numbers, expected 2"),
        ("ktensor\n1\n2\n1\n1\nmatrix\n2\n2 1\n1\n1\n", "is a model"),
    ] {
        let e = refused("t", text, &plain());
        assert!(e.contains(said), "{text:?}: {e}");
    }
    let k = "// Example\nktensor\n3\n2 3 3\n2\n1.0 2.0\nfacmatrix\n2\n2 2\n0.5 0.1\n0.5 0.9\nfacmatrix\n2\n3 2\n1 2\n3 4\n5 6\n\
             facmatrix\n2\n3 2\n1e-2 4e-2\n2e-2 5e-2\n3e-2 6e-2\n";
    let model = read_model(Input::from_bytes("k", k.into()).unwrap()).unwrap();
    let Model::Cp(cp) = &model.model else { panic!() };
    assert_eq!(
        (cp.weights.as_slice(), cp.factors[1].row(2), model.model.shape()),
        (&[1.0, 2.0][..], &[5.0, 6.0][..], vec![2, 3, 3])
    );
    let e = read_model(Input::from_bytes("k", k.replace("3 2\n1 2", "2 2\n1 2").into()).unwrap()).unwrap_err().to_string();
    assert!(e.contains("expected [3, 2]"), "{e}");
}

/// The bytes of a `.npy` file with any header.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': {descr}, 'fortran_order': {}, 'shape': {shape}, }}", if fortran { "True" } else { "False" });
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn numpy_arrays_of_all_kinds() {
    let le = |v: &[f64]| -> Vec<u8> { v.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let values = |bytes: &[u8]| match read("a.npy", bytes, &plain()).unwrap().data {
        TensorData::Dense(d) => (d.shape().to_vec(), d.into_values()),
        other => panic!("{other:?}"),
    };
    let c = values(&npy("'<f8'", false, "(2, 3)", &le(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
    assert_eq!(c, (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let f = values(&npy("'<f8'", true, "(2, 3)", &le(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0])));
    assert_eq!(f, c);
    let vector = values(&npy("'<f8'", true, "(3,)", &le(&[1.0, 2.0, 3.0])));
    assert_eq!(vector, (vec![3], vec![1.0, 2.0, 3.0]));
    let ints = |descr: &str, data: &[u8]| values(&npy(descr, false, "(2, 1)", data)).1;
    assert_eq!(ints("'|i1'", &[255, 3]), [-1.0, 3.0]);
    assert_eq!(ints("'|u1'", &[255, 3]), [255.0, 3.0]);
    assert_eq!(ints("'|b1'", &[0, 1]), [0.0, 1.0]);
    assert_eq!(ints("'<i2'", &[0, 128, 1, 0]), [-32768.0, 1.0]);
    assert_eq!(ints("'<u4'", &[255, 255, 255, 255, 1, 0, 0, 0]), [4294967295.0, 1.0]);
    assert_eq!(ints("'<i8'", &[(-7i64).to_le_bytes(), (1i64 << 53).to_le_bytes()].concat()), [-7.0, 9007199254740992.0]);
    assert_eq!(ints("'<f4'", &[1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()), [1.5, -2.0]);
    let whole = npy("'<f8'", false, "(2, 3)", &le(&[1.0; 6]));
    let mut long = whole.clone();
    long.extend(b"more");
    for (bytes, said) in [
        (whole[..whole.len() - 9].to_vec(), "a.npy: holds 4 of the 6 numbers of shape [2, 3]"),
        (whole[..40].to_vec(), "header cannot be read"),
        (long, "goes on after the 6 numbers"),
        (npy("'>f8'", false, "(1, 1)", &[0; 8]), "big-endian numbers ('>f8'), expected little-endian (convert it with"),
        (npy("'|O'", false, "(1, 1)", &[0; 8]), "Python objects, which are never loaded"),
        (npy("'<c16'", false, "(1, 1)", &[0; 16]), "complex"),
        (npy("'<f2'", false, "(1, 1)", &[0; 2]), "holds '<f2', expected f64, f32, integers or bool"),
        (npy("'<U3'", false, "(1, 1)", &[0; 12]), "convert it with"),
        (npy("[('a', '<f8')]", false, "(1, 1)", &[0; 8]), "records"),
        (npy("'<f8'", false, "(0, 3)", &[]), "has no cells"),
        (npy("'<f8'", false, "()", &[0; 8]), "a single number"),
        (npy("'<f8'", false, "(4000000000, 4000000000, 4000000000)", &[]), "larger than memory can be"),
        (npy("'<f8'", false, "(1, 2)", &le(&[1.0, f64::INFINITY])), "cell [0, 1] (counted from 0): found inf"),
        (npy("'<f8'", false, "(1, 2)", &le(&[1.0, f64::NAN])), "cell [0, 1] (counted from 0): found NaN"),
        (npy("'<i8'", false, "(1, 1)", &i64::MAX.to_le_bytes()), "found 9223372036854775807, which 64-bit"),
        (npy("'|b1'", false, "(1, 1)", &[7]), "found the byte 7, expected a bool"),
        (npy("'<f8'", false, "(2, 3", &[]), "header cannot be read"),
    ] {
        let e = refused("a.npy", bytes, &plain());
        assert!(e.contains(said), "{said}: {e}");
    }
    // The cell of a Fortran array is named in its own order, and its mask is turned with it.
    let holed = npy("'<f8'", true, "(2, 2)", &le(&[1.0, f64::NAN, 3.0, 4.0]));
    assert!(refused("a.npy", &holed, &plain()).contains("cell [1, 0]"));
    let TensorData::Masked(m) = read("a.npy", &holed, &absent()).unwrap().data else { panic!() };
    assert_eq!((m.tensor.values(), &m.observed[..]), (&[1.0, 3.0, 0.0, 4.0][..], &[true, true, false, true][..]));
    // As coordinates: what is not zero, or what was observed.
    let zeros = npy("'<f8'", false, "(2, 2)", &le(&[0.0, 2.0, 0.0, 4.0]));
    let TensorData::Sparse(s, Absent::Zero) = read("a.npy", &zeros, &sparse()).unwrap().data else { panic!() };
    assert_eq!((s.values(), s.indices(0)), (&[2.0, 4.0][..], &[0, 1][..]));
    let o = ReadOptions { storage: Storage::Sparse, ..absent() };
    let TensorData::Sparse(s, Absent::Unobserved) = read("a.npy", &holed, &o).unwrap().data else { panic!() };
    assert_eq!((s.len(), s.indices(1)), (3, &[0, 1, 1][..]));
}

#[test]
fn one_array_of_an_archive() {
    use crate::table::arrays::{Array, ArrayFormat, ArrayType, Arrays, write_arrays};
    let mut arrays = Arrays::default();
    arrays.push("x", Array::new(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]));
    let one = |format| write_arrays(&arrays, format, ArrayType::F64).unwrap();
    let named = |name: &str| ReadOptions { array: Some(name.into()), ..plain() };
    let want = TensorData::Dense(Dense::new(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]));
    for format in [ArrayFormat::Npz, ArrayFormat::Safetensors] {
        let bytes = one(format);
        assert_eq!(read("a", &bytes, &plain()).unwrap().data, want);
        assert_eq!(read("a", &bytes, &named("x")).unwrap().data, want);
        assert!(refused("a", &bytes, &named("y")).contains("holds no array \"y\" (the arrays are x)"));
        assert!(refused("a", &bytes[..bytes.len() - 12], &plain()).contains("a readable"));
        let mut two = arrays.clone();
        two.push("z", Array::new(&[1], vec![5.0]));
        let two = write_arrays(&two, format, ArrayType::F32).unwrap();
        assert!(
            refused("a", &two, &plain()).contains("holds 2 arrays, expected one (choose one with --array; the arrays are x, z)")
        );
        assert_eq!(read("a", &two, &named("x")).unwrap().data, want);
    }
}

#[test]
fn long_tables() {
    let text =
        "day,cell,dose,value\nmon,b,10,1\nmon,a,10,2\ntue,b,2,3\ntue,a,2,4\nmon,b,2,5\nmon,a,2,6\ntue,b,10,7\ntue,a,10,8\n";
    let input = read("t.csv", text, &table("day,cell,dose")).unwrap();
    let TensorData::Dense(d) = &input.data else { panic!() };
    assert_eq!((d.shape(), d.values()), (&[2, 2, 2][..], &[1.0, 5.0, 2.0, 6.0, 7.0, 3.0, 8.0, 4.0][..]));
    let labels =
        |i: &TensorInput<f64>, n: usize| i.modes[n].labels.as_ref().unwrap().iter().map(|l| l.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (input.modes[2].name.as_str(), labels(&input, 1), labels(&input, 2)),
        ("dose", vec!["b".into(), "a".into()], vec!["10".into(), "2".to_string()])
    );
    let sorted = read("t.csv", text, &ReadOptions { sorted: true, ..table("day,cell,dose") }).unwrap();
    assert_eq!((labels(&sorted, 1), labels(&sorted, 2)), (vec!["a".into(), "b".into()], vec!["2".into(), "10".to_string()]));
    let TensorData::Dense(d) = &sorted.data else { panic!() };
    assert_eq!(d.values(), [6.0, 2.0, 5.0, 1.0, 4.0, 8.0, 3.0, 7.0]);
    // Parquet and JSON lines hold the same table.
    let cells = |c: usize| text.lines().skip(1).map(move |l| l.split(',').nth(c).unwrap());
    let column = |c: usize| Values::Text(cells(c).map(Into::into).collect());
    let whole = Table::new()
        .with("day", column(0))
        .with("cell", column(1))
        .with("dose", Values::Integer(cells(2).map(|v| v.parse().unwrap()).collect()))
        .with("value", Values::Number(cells(3).map(|v| v.parse().unwrap()).collect()));
    for format in [Format::Csv, Format::Tsv, Format::Parquet, Format::Jsonl, Format::Json] {
        let mut bytes = Vec::new();
        write_table(&whole, format, &mut bytes).unwrap();
        let again = read("t", &bytes, &table("day,cell,dose")).unwrap();
        assert_eq!((again.data, again.modes), (input.data.clone(), input.modes.clone()), "{format}");
    }
}

#[test]
fn what_is_wrong_with_a_long_table() {
    let o = table("i,j");
    let cases: &[(&str, &ReadOptions, &str)] = &[
        ("i,j,value\n1,1,2\n1,2,3\n1,1,4\n", &o, "t.csv, rows 2 and 4: both hold the cell [0, 0]"),
        (
            "i,j,value\n1,1,2\n2,2,3\n",
            &o,
            "t.csv: holds 2 of the 4 cells of shape [2, 2] (say what the others are: --missing absent",
        ),
        ("i,j,value\n1,1,2\n1,,3\n", &o, "t.csv, row 3, column \"j\": the cell is empty, expected a label or an index"),
        (
            "i,j,value\n1,1,2\n1,2,\n",
            &o,
            "t.csv, row 3, column \"value\": the cell is missing, expected a number (a missing value",
        ),
        ("i,j,value\n1,1,2\n1,2,x\n", &o, "t.csv, row 3, column \"value\": found \"x\", expected a number"),
        ("i,j,value\n1,1,2\n1,2\n", &o, "t.csv, row 3: found 2 fields, expected 3"),
        (
            "i,j,value\n1,0.5,2\n1,1,2\n",
            &o,
            "t.csv, row 2, column \"j\": found \"0.5\", expected a whole number or a label (real coordinates are for",
        ),
        ("i,k,value\n1,1,2\n", &o, "there is no column \"j\""),
        ("i,j,a,b\n1,1,2,3\n", &o, "several columns may hold the values (name one with --value"),
        ("i,j\n1,1\n", &o, "no column left for the values"),
        ("i,j,value\n", &o, "no rows"),
        ("i,value\n1,2\n", &table("i,i"), "the column is named twice"),
    ];
    for (text, options, said) in cases {
        let e = refused("t.csv", text, options);
        assert!(e.contains(said), "{text:?}: {e}");
    }
    let e = refused("t.csv", "i,j,value\n1,1,2\n", &plain());
    assert!(e.contains("--coords") && e.contains("the columns are i, j, value"), "{e}");
    let e = refused("t.csv", b"i,j,value\n1,\xFF,2\n", &o);
    assert!(e.contains("row 2") && e.contains("0xFF"), "{e}");
    // Rows keep their numbers when missing ones are taken out.
    let holes = "i,j,value\n1,1,2\n\n1,2,\n2,1,3\n1,1,9\n";
    let e = refused("t.csv", holes, &ReadOptions { missing: Some(Missing::Absent), ..table("i,j") });
    assert!(e.contains("rows 2 and 6"), "{e}");
    let mean =
        ReadOptions { missing: Some(Missing::Absent), duplicates: Duplicates::Mean, storage: Storage::Dense, ..table("i,j") };
    let input = read("t.csv", holes, &mean).unwrap();
    let TensorData::Masked(m) = &input.data else { panic!() };
    assert_eq!((m.tensor.values(), &m.observed[..]), (&[5.5, 0.0, 3.0, 0.0][..], &[true, false, true, false][..]));
    assert_eq!((input.merged, input.nan), (1, 1));
}

/// A tensor with its kind drawn.
fn any_tensor() -> impl Strategy<Value = TensorData<f64>> {
    let shape = prop::collection::vec(1usize..5, 1..5);
    let number = prop_oneof![Just(0.0), -1e3..1e3, any::<f64>().prop_filter("finite", |x| x.is_finite() && *x != 0.0)];
    (shape, 0..3).prop_flat_map(move |(shape, kind)| {
        let n: usize = shape.iter().product();
        (prop::collection::vec(number.clone(), n), prop::collection::vec(any::<bool>(), n)).prop_map(
            move |(mut values, mut seen)| {
                seen[0] = true;
                if values.iter().all(|v| *v == 0.0) {
                    values[0] = 1.0;
                }
                values.iter_mut().for_each(|v| *v += 0.0);
                match kind {
                    0 => TensorData::Dense(Dense::new(shape.clone(), values)),
                    1 => {
                        seen[n - 1] &= n == 1;
                        values.iter_mut().zip(&seen).filter(|(_, s)| !**s).for_each(|(v, _)| *v = 0.0);
                        let tensor = Dense::new(shape.clone(), values);
                        match n {
                            1 => TensorData::Dense(tensor),
                            _ => TensorData::Masked(Masked { tensor, observed: seen.clone() }),
                        }
                    }
                    _ => {
                        let mut indices = vec![Vec::new(); shape.len()];
                        let (mut kept, mut cell) = (Vec::new(), vec![0; shape.len()]);
                        for (v, s) in values.iter().zip(&seen) {
                            if *s {
                                indices.iter_mut().zip(&cell).for_each(|(c, i)| c.push(*i as u32));
                                kept.push(*v);
                            }
                            tns::advance(&mut cell, &shape);
                        }
                        TensorData::Sparse(Sparse::new(shape.clone(), indices, kept), Absent::Zero)
                    }
                }
            },
        )
    })
}

proptest! {
    #[test]
    fn coordinates_come_back(data in any_tensor()) {
        let mut text = Vec::new();
        write_tns(&data, &mut text).unwrap();
        let options = match &data {
            TensorData::Dense(_) => ReadOptions { storage: Storage::Dense, ..plain() },
            TensorData::Masked(_) => ReadOptions { storage: Storage::Dense, ..absent() },
            TensorData::Sparse(..) => sparse(),
        };
        prop_assert_eq!(read("t", &text, &options).unwrap().data, data);
    }

    #[test]
    fn arrays_come_back(data in any_tensor()) {
        if let TensorData::Dense(d) = &data {
            let bytes = write_npy(d.shape(), d.values());
            prop_assert_eq!(read("t", &bytes, &plain()).unwrap().data, data);
        }
    }

    #[test]
    fn f32_comes_back(values in prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 1..20)) {
        let data = TensorData::Dense(Dense::new(vec![values.len()], values.iter().map(|v| v + 0.0).collect()));
        let mut text = Vec::new();
        write_tns(&data, &mut text).unwrap();
        let options = ReadOptions { storage: Storage::Dense, ..plain() };
        prop_assert_eq!(read_as::<f32>("t", &text, &options).unwrap().data, data);
    }

    #[test]
    fn tables_come_back(data in any_tensor(), sorted in any::<bool>()) {
        if let TensorData::Dense(d) = &data {
            let mut columns = vec![Vec::new(); d.order()];
            let mut cell = vec![0; d.order()];
            for _ in d.values() {
                columns.iter_mut().zip(&cell).for_each(|(c, i)| c.push(*i as i64));
                tns::advance(&mut cell, d.shape());
            }
            let names: Vec<String> = (0..d.order()).map(|n| format!("m{n}")).collect();
            let start = Table::new().with("value", Values::Number(d.values().to_vec()));
            let table = names.iter().zip(columns).fold(start, |t, (n, c)| t.with(n, Values::Integer(c)));
            for format in [Format::Csv, Format::Parquet] {
                let mut bytes = Vec::new();
                write_table(&table, format, &mut bytes).unwrap();
                let options = ReadOptions { coords: names.clone(), sorted, storage: Storage::Dense, ..plain() };
                prop_assert_eq!(&read("t", &bytes, &options).unwrap().data, &data);
            }
        }
    }

    /// Whatever bytes there are: an answer, no panic, and the same one at any block size and number of threads.
    #[test]
    fn any_text_has_one_answer(text in "([0-9]{1,2}|-1|1\\.5|nan|#x|sptensor|tensor|é|\u{FEFF}| |\t|\r|\n|\n){0,40}", block in 1usize..40) {
        let all = |threads: usize, block: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut input = Input::from_bytes("t", text.clone().into_bytes())?;
                tns::read_blocks::<f64>(&mut input, &ReadOptions { duplicates: Duplicates::Sum, ..absent() }, block)
            }).map(|r| (r.data, r.notes, r.nan)).map_err(|e| e.to_string())
        };
        let first = all(1, 1 << 20);
        prop_assert_eq!(&first, &all(2, block));
        let genten = |threads: usize, block: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut input = Input::from_bytes("t", text.clone().into_bytes())?;
                genten::read_blocks::<f64>(&mut input, &absent(), block)
            }).map(|r| r.data).map_err(|e| e.to_string())
        };
        prop_assert_eq!(genten(1, 1 << 20), genten(2, block));
    }

    #[test]
    fn any_bytes_have_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0usize..6) {
        let heads: [&[u8]; 6] = [b"", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\x20\0\0\0\0\0\0\0{", b"PAR1", b"\x1F\x8B"];
        bytes.splice(..0, heads[magic].iter().copied());
        let _ = read("t", &bytes, &plain());
        let _ = Input::from_bytes("t", bytes).and_then(read_model);
    }

    #[test]
    fn damaged_files_have_an_answer(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), which in 0usize..4) {
        use crate::table::arrays::{Array, ArrayFormat, ArrayType, Arrays, write_arrays};
        let mut arrays = Arrays::default();
        arrays.push("x", Array::new(&[2, 3], vec![1.0; 6]));
        let mut bytes = match which {
            0 => write_npy(&[2, 3], &[1.0; 6]),
            1 => write_arrays(&arrays, ArrayFormat::Npz, ArrayType::F64).unwrap(),
            2 => write_arrays(&arrays, ArrayFormat::Safetensors, ArrayType::F64).unwrap(),
            _ => write_model(&models()[0]),
        };
        let i = at.index(bytes.len());
        bytes[i] = byte;
        let _ = read("t", &bytes, &plain());
        let _ = Input::from_bytes("t", bytes.clone()).and_then(read_model);
        bytes.truncate(cut.index(bytes.len()));
        let _ = read("t", &bytes, &plain());
        let _ = Input::from_bytes("t", bytes).and_then(read_model);
    }
}

/// Threads and blocks change nothing, on files of several blocks.
#[test]
fn threads_change_nothing() {
    let mut text = String::from("# many lines\n");
    let mut x = 1u64;
    for k in 0..120_000u64 {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        text.push_str(&format!("{} {} {} {}\n", x >> 54, x >> 44 & 1023, k % 977 + 1, (x >> 20 & 0xFFFF) as f64 / 64.0));
        if k % 1000 == 0 {
            text.push_str("# remark\n\n");
        }
    }
    let run = |threads: usize, duplicates| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let input = read("t", &text, &ReadOptions { duplicates, ..plain() }).map_err(|e| e.to_string())?;
            let mut out = Vec::new();
            write_tns(&input.data, &mut out).unwrap();
            Ok::<_, String>((out, format!("{:?}", statistics(&input))))
        })
    };
    assert!(text.len() > 2 << 20, "several blocks");
    assert_eq!(run(1, Duplicates::Sum).unwrap(), run(2, Duplicates::Sum).unwrap());
    assert_eq!(run(1, Duplicates::Error), run(2, Duplicates::Error));
    // A fault in a late block is found with its row, and it is the first one that counts.
    let rows = text.lines().count();
    let broken = format!("{text}1 2 3 x\n{text}9 9\n");
    let e = refused("t", broken, &plain());
    assert!(e.starts_with(&format!("t, row {}, column \"value\"", rows + 1)), "{e}");
}

fn models() -> Vec<ModelFile> {
    let matrix = |rows: usize, cols: usize| Matrix::new(rows, cols, (0..rows * cols).map(|i| 0.1 + i as f64 / 3.0).collect());
    let core = |shape: &[usize]| Dense::new(shape.to_vec(), (0..shape.iter().product()).map(|i| i as f64 / 7.0).collect());
    let modes = vec![
        Mode { name: "ligand".into(), labels: Some(vec!["IL-2".into(), "é\"\n".into()]) },
        Mode { name: "time".into(), labels: None },
        Mode { name: "x".into(), labels: None },
    ];
    let about = BTreeMap::from([("method".to_string(), "als".to_string()), ("seed".into(), "0".into())]);
    let file = |model| ModelFile { model, modes: modes.clone(), about: about.clone() };
    vec![
        file(Model::Cp(Kruskal { weights: vec![2.0, 0.5], factors: vec![matrix(2, 2), matrix(4, 2), matrix(3, 2)] })),
        file(Model::Tucker(Tucker { core: core(&[2, 3, 1]), factors: vec![matrix(2, 2), matrix(4, 3), matrix(3, 1)] })),
        file(Model::Train(Train { cores: vec![core(&[1, 2, 2]), core(&[2, 4, 3]), core(&[3, 3, 1])] })),
    ]
}

#[test]
fn models_come_back_and_give_the_same_bytes() {
    for file in models() {
        let bytes = write_model(&file);
        assert_eq!(bytes, write_model(&file));
        assert_eq!((bytes.len() - 8 * 2) % 8, 0);
        let again = read_model(Input::from_bytes("m", bytes.clone()).unwrap()).unwrap();
        assert_eq!(again, file);
        assert_eq!(again.model.shape(), [2, 4, 3]);
        // The safetensors crate reads it too.
        let name = match file.model.kind() {
            "cp" => "weights",
            "tucker" => "factor_1",
            _ => "core_1",
        };
        assert!(::safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor(name).is_ok());
    }
}

#[test]
fn models_of_others_and_damaged_ones_are_refused() {
    use crate::table::arrays::{Array, ArrayFormat, ArrayType, Arrays, write_arrays};
    let error = |bytes: Vec<u8>| read_model(Input::from_bytes("m", bytes).unwrap()).unwrap_err().to_string();
    let mut arrays = Arrays::default();
    arrays.push("weights", Array::new(&[2], vec![1.0, 2.0]));
    assert!(error(write_arrays(&arrays, ArrayFormat::Safetensors, ArrayType::F64).unwrap()).contains("does not name a format"));
    assert!(error(b"hello world".to_vec()).contains("no safetensors file"));
    assert!(error(write_npy(&[1], &[1.0])).contains("holds no decomposition"));
    let bytes = write_model(&models()[0]);
    assert!(error(bytes[..bytes.len() - 8].to_vec()).contains("a readable safetensors file"));
    assert!(error(bytes[..20].to_vec()).contains("a readable safetensors file"));
    // Replaced by text of the same length, so that offsets stay right.
    let edit = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let text = std::str::from_utf8(&bytes[8..header]).unwrap();
        assert!(text.contains(from), "{text}");
        let mut edited = bytes[..8].to_vec();
        edited.extend(text.replacen(from, to, 1).as_bytes());
        edited.extend(&bytes[header..]);
        error(edited)
    };
    assert!(edit("decomposition-1", "decomposition-2").contains("its format is \"shoal-decomposition-2\""));
    assert!(edit("\"kind\":\"cp\"", "\"kind\":\"xx\"").contains("its kind is \"xx\", expected cp, tucker or tt"));
    assert!(edit("[2,4,3]", "[2,4,9]").contains("array \"factor_2\" has shape [3, 2], expected [9, 2]"));
    assert!(edit("factor_1", "factor_7").contains("holds no array \"factor_1\""));
    assert!(edit("\"shape\":\"[2,4,3]\"", "\"shape\":\"[2,4,x]\"").contains("\"shape\" cannot be read"));
    assert!(edit("{\\\"name\\\":\\\"time\\\"}", "{\\\"nome\\\":\\\"time\\\"}").contains("modes do not fit"));
    let mut nan = bytes.clone();
    let at = nan.len() - 8;
    nan[at..].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(error(nan).contains("array \"factor_2\", number 5: found NaN"));
}

#[test]
fn results_as_tables() {
    let csv = |t: &Table| {
        let mut out = Vec::new();
        write_table(t, Format::Csv, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let factor = Matrix::new(2, 2, vec![0.5, -1.0, 0.25, 1e-7]);
    let unnamed = Mode { name: "mode_0".into(), labels: None };
    let named = Mode { name: "day".into(), labels: Some(vec!["mon".into(), "tue,wed".into()]) };
    assert_eq!(csv(&factor_table(&factor, &unnamed, None)), "index,c0,c1\n0,0.5,-1\n1,0.25,1e-7\n");
    assert_eq!(csv(&factor_table(&factor, &named, None)), "label,c0,c1\nmon,0.5,-1\n\"tue,wed\",0.25,1e-7\n");
    assert_eq!(csv(&factor_table(&factor, &named, Some(&[0.5, 2.25]))), "coordinate,c0,c1\n0.5,0.5,-1\n2.25,0.25,1e-7\n");
    assert_eq!(csv(&weights_table(&[3.0, 0.5])), "component,weight\n0,3\n1,0.5\n");
    let trace = [TracePoint { iter: 1, fit: 0.5, rel_error: 0.5, seconds: 0.125 }];
    assert_eq!(csv(&trace_table(&trace)), "iter,fit,rel_error,seconds\n1,0.5,0.5,0.125\n");
    let input = read("t", "1 1 2\n3 2 1\n", &sparse()).unwrap();
    let text = csv(&statistics(&input).modes_table());
    assert_eq!(text.lines().nth(1), Some("0,mode_0,3,1,1,1,1,1,2,0"));
}

#[test]
fn statistics_of_numbers_at_the_ends_of_their_range() {
    for size in [1e300, 1e-300] {
        let bytes = write_npy(&[1, 3], &[size, -size, size]);
        let read = read_from::<f64>(Input::from_bytes("t", bytes).unwrap(), &ReadOptions::default()).unwrap();
        let stats = statistics(&read);
        assert!((stats.norm / size - 3f64.sqrt()).abs() < 1e-15 && (stats.sum / size - 1.0).abs() < 1e-15, "{stats:?}");
        assert!((stats.modes[0].largest_norm / size - 3f64.sqrt()).abs() < 1e-15, "{stats:?}");
    }
}
