//! [`Source`]: the bytes of one input, unpacked, and what they are, told by their content.

use super::error::BadInput;
use super::records::{Dialect, SNIFF_BYTES, sniff_dialect};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};
use std::sync::OnceLock;

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Apache Parquet.
    Parquet,
    /// One JSON object per line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
    /// Delimited text.
    Delimited(Dialect),
}

/// The first bytes of a Parquet file, which are also its last.
const PARQUET_MAGIC: &[u8] = b"PAR1";
/// UTF-8 byte order mark.
pub(in crate::table) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One input, wholly in memory: tables are read in a single pass over these bytes, and standard input cannot be read twice.
#[derive(Debug)]
pub struct Source {
    name: String,
    raw: Vec<u8>,
    /// The unpacked bytes, where `raw` is gzip or zstd.
    unpacked: Option<Vec<u8>>,
    content: Content,
    sha256: OnceLock<String>,
}

impl Source {
    /// Reads the file at `path`, or standard input if `path` is `-`.
    ///
    /// Errors: the file cannot be read, is empty, a cut-off gzip/zstd/Parquet file, or not a table. Cost: one read of the file.
    pub fn open(path: &str) -> Result<Source, BadInput> {
        let mut raw = Vec::new();
        let name = if path == "-" { "stdin" } else { path };
        let read = if path == "-" {
            io::stdin().lock().read_to_end(&mut raw)
        } else {
            std::fs::File::open(path).and_then(|mut file| {
                if file.metadata()?.is_dir() {
                    return Err(io::Error::other("it is a directory, expected a file"));
                }
                file.read_to_end(&mut raw)
            })
        };
        read.map_err(|e| {
            let e = BadInput::new(name, format!("cannot read it: {}", plain(&e)));
            if path == "-" { e } else { e.remedy("check the path; - reads from standard input") }
        })?;
        Source::from_bytes(name, raw)
    }

    /// A source of these bytes; `name` is what messages call it. Errors as [`open`](Self::open).
    pub fn from_bytes(name: impl Into<String>, raw: Vec<u8>) -> Result<Source, BadInput> {
        let name = name.into();
        let unpacked = unpack(&name, &raw)?;
        let content = sniff(&name, unpacked.as_deref().unwrap_or(&raw))?;
        Ok(Source { name, raw, unpacked, content, sha256: OnceLock::new() })
    }

    /// What messages call it: the path, or `stdin`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The unpacked bytes, without a byte order mark.
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.unpacked.as_deref().unwrap_or(&self.raw);
        bytes.strip_prefix(BOM).unwrap_or(bytes)
    }

    /// How many bytes were read, before unpacking.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// The SHA-256 of the bytes as they were read (still packed), in hexadecimal. Computed at the first call; cost O(n).
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| Sha256::digest(&self.raw).iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// An I/O error without the "(os error 2)" that says nothing to a reader.
pub(in crate::table) fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// What `reader` unpacks to, if the bytes that it starts with are those of gzip or zstd.
pub(in crate::table) fn unpacked<'a>(reader: Box<dyn BufRead + Send + 'a>, head: &[u8]) -> io::Result<Unpacked<'a>> {
    Ok(if head.starts_with(&[0x1F, 0x8B]) {
        Unpacked { kind: Some("gzip"), reader: Box::new(flate2::bufread::MultiGzDecoder::new(reader)) }
    } else if head.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        Unpacked { kind: Some("zstd"), reader: Box::new(zstd::stream::read::Decoder::with_buffer(reader)?) }
    } else {
        Unpacked { kind: None, reader: Box::new(reader) }
    })
}

/// A stream of unpacked bytes, and what they were packed with.
pub(in crate::table) struct Unpacked<'a> {
    pub kind: Option<&'static str>,
    pub reader: Box<dyn Read + Send + 'a>,
}

/// The unpacked bytes if `raw` is gzip or zstd.
fn unpack(name: &str, raw: &[u8]) -> Result<Option<Vec<u8>>, BadInput> {
    let mut out = Vec::new();
    let stream = unpacked(Box::new(raw), raw).map_err(|e| BadInput::new(name, format!("cannot read it: {}", plain(&e))))?;
    let Some(kind) = stream.kind else { return Ok(None) };
    let mut reader = stream.reader;
    let result = reader.read_to_end(&mut out);
    result.map_err(|e| {
        let e = BadInput::new(
            name,
            format!("the {kind} data are damaged or cut off after {} unpacked bytes: {}", out.len(), plain(&e)),
        );
        e.remedy("copy the file again")
    })?;
    Ok(Some(out))
}

fn sniff(name: &str, bytes: &[u8]) -> Result<Content, BadInput> {
    let has_bom = bytes.starts_with(BOM);
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes);
    if text.starts_with(PARQUET_MAGIC) {
        // Magic, a footer with its length, magic: nothing shorter than this is whole.
        return if text.len() >= 12 && text.ends_with(PARQUET_MAGIC) {
            Ok(Content::Parquet)
        } else {
            let what = format!("starts as a Parquet file but its end is missing (it has {} bytes)", text.len());
            Err(BadInput::new(name, what).remedy("the file is cut off: copy it again"))
        };
    }
    if !has_bom && (text.starts_with(&[0xFF, 0xFE]) || text.starts_with(&[0xFE, 0xFF])) {
        return Err(BadInput::new(name, "found UTF-16 text, expected UTF-8").remedy("convert it with: iconv -f UTF-16 -t UTF-8"));
    }
    let head = &text[..text.len().min(SNIFF_BYTES)];
    if let Some(at) = head.iter().position(|b| *b == 0) {
        return Err(BadInput::new(name, format!("found a zero byte at byte {}, expected text or Parquet", at + 1))
            .remedy("shoal reads CSV, TSV, JSON lines and Parquet"));
    }
    let trimmed = text.trim_ascii_start();
    match trimmed.first() {
        None => {
            let what = if bytes.is_empty() { "the file is empty" } else { "the file holds nothing but blanks" };
            Err(BadInput::new(name, what).remedy("expected a table with a header and rows"))
        }
        Some(b'{') => Ok(Content::JsonLines),
        Some(b'[') if matches!(trimmed[1..].trim_ascii_start().first(), Some(b'{' | b']')) => Ok(Content::JsonArray),
        Some(_) => Ok(Content::Delimited(sniff_dialect(head))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn content(bytes: &[u8]) -> Content {
        Source::from_bytes("t", bytes.to_vec()).unwrap().content()
    }

    fn refused(bytes: &[u8]) -> String {
        Source::from_bytes("t", bytes.to_vec()).unwrap_err().to_string()
    }

    #[test]
    fn tells_content_by_content() {
        assert_eq!(content(b"PAR1........PAR1"), Content::Parquet);
        assert_eq!(content(b"\n  {\"a\":1}\n"), Content::JsonLines);
        assert_eq!(content(b"[\n {\"a\":1}]"), Content::JsonArray);
        assert!(matches!(content(b"[a],b\n1,2\n"), Content::Delimited(d) if d.delimiter == b','));
        assert!(matches!(content(b"\xEF\xBB\xBFa\tb\n1\t2\n"), Content::Delimited(d) if d.delimiter == b'\t'));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(refused(b"").contains("the file is empty"));
        assert!(refused(b" \n\n").contains("nothing but blanks"));
        assert!(refused(b"PAR1\x15\x04\x15").contains("its end is missing"));
        assert!(refused(b"PAR1").contains("its end is missing"));
        assert!(refused(b"\xFF\xFEa\0,\0").contains("UTF-16"));
        assert!(refused(b"\x7FELF\x02\0\0").contains("zero byte at byte 6"));
        let e = Source::open("/no/such/file.csv").unwrap_err().to_string();
        assert_eq!(
            e,
            "/no/such/file.csv: cannot read it: no such file or directory (check the path; - reads from standard input)"
        );
        assert!(Source::open("/").unwrap_err().to_string().contains("directory"));
    }

    #[test]
    fn unpacks_and_hashes_the_packed_bytes() {
        let text = b"ds,y\n2020-01-01,1\n".repeat(50);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&text).unwrap();
        let gz = gz.finish().unwrap();
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        for packed in [gz, zst] {
            let s = Source::from_bytes("t", packed.clone()).unwrap();
            assert_eq!(s.bytes(), text);
            assert_eq!(s.raw_len(), packed.len());
            assert_ne!(s.sha256(), Source::from_bytes("t", text.clone()).unwrap().sha256());
            assert!(refused(&packed[..packed.len() - 9]).contains("cut off"));
        }
        // FIPS 180-2, example "abc".
        let abc = Source::from_bytes("t", b"abc".to_vec()).unwrap();
        assert_eq!(abc.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
