//! The bytes of a tensor file as a stream: unpacked, counted, hashed, and what they are, told by their first bytes.
//!
//! A table is read wholly into memory by [`Source`](crate::table::Source); coordinates as text take more room than the numbers they stand
//! for, so tensors come as a stream and only a few blocks of text are ever held.

use crate::table::BadInput;
use crate::table::source::{BOM, Unpacked, plain, unpacked};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::{Arc, Mutex};

/// How many unpacked bytes the kind of a file is told by.
const HEAD: usize = 1 << 16;

/// What was read: bytes before unpacking and their SHA-256.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digested {
    /// Bytes before unpacking.
    pub bytes: usize,
    /// SHA-256 in hexadecimal, if it was asked for.
    pub sha256: Option<String>,
}

/// Counts and hashes what passes through.
struct Tap {
    inner: Box<dyn Read + Send>,
    seen: Arc<Mutex<(usize, Option<Sha256>)>>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if let Ok(mut seen) = self.seen.lock() {
            seen.0 += n;
            if let Some(hash) = &mut seen.1 {
                hash.update(&buffer[..n]);
            }
        }
        Ok(n)
    }
}

/// An open input. Reading it gives the unpacked bytes, without a byte order mark.
pub struct Input {
    name: String,
    head: Vec<u8>,
    stream: Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>,
    packed: Option<&'static str>,
    seen: Arc<Mutex<(usize, Option<Sha256>)>>,
}

impl Input {
    /// Opens the file at `path`, or standard input if it is `-`; `hash` asks for the SHA-256.
    ///
    /// Errors: the file cannot be read, is empty, or is damaged gzip or zstd.
    pub fn open(path: &str, hash: bool) -> Result<Input, BadInput> {
        if path == "-" {
            return Input::from_reader("stdin", Box::new(io::stdin()), hash);
        }
        let file = File::open(path).and_then(|file| {
            if file.metadata()?.is_dir() {
                return Err(io::Error::other("it is a directory, expected a file"));
            }
            Ok(file)
        });
        let file = file.map_err(|e| {
            BadInput::new(path, format!("cannot read it: {}", plain(&e))).remedy("check the path; - reads from standard input")
        })?;
        Input::from_reader(path, Box::new(file), hash)
    }

    /// An input of these bytes; `name` is what messages call it.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Input, BadInput> {
        Input::from_reader(name, Box::new(Cursor::new(bytes)), false)
    }

    /// An input of any stream.
    pub fn from_reader(name: &str, reader: Box<dyn Read + Send>, hash: bool) -> Result<Input, BadInput> {
        let seen = Arc::new(Mutex::new((0, hash.then(Sha256::new))));
        let mut raw = BufReader::with_capacity(HEAD, Tap { inner: reader, seen: seen.clone() });
        let failed = |e: io::Error| BadInput::new(name, format!("cannot read it: {}", plain(&e)));
        let magic = raw.fill_buf().map_err(failed)?;
        let start = magic.to_vec();
        let Unpacked { kind: packed, reader: mut unpacked } = unpacked(Box::new(raw), &start).map_err(failed)?;
        let mut head = Vec::new();
        let mut input_error = None;
        if let Err(e) = unpacked.by_ref().take(HEAD as u64).read_to_end(&mut head) {
            input_error = Some(e);
        }
        let is_empty = head.is_empty();
        if head.starts_with(BOM) {
            head.drain(..BOM.len());
        }
        let stream = Cursor::new(head.clone()).chain(unpacked);
        let input = Input { name: name.to_owned(), head, stream, packed, seen };
        match input_error {
            Some(e) => Err(input.broken(&e)),
            None if is_empty => Err(BadInput::new(name, "the file is empty").remedy("expected a tensor")),
            None => Ok(input),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first bytes, at most 64 KiB.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What to say when reading fails.
    pub fn broken(&self, e: &io::Error) -> BadInput {
        match self.packed {
            Some(kind) => BadInput::new(&self.name, format!("the {kind} data are damaged or cut off: {}", plain(e)))
                .remedy("copy the file again"),
            None => BadInput::new(&self.name, format!("cannot read it: {}", plain(e))),
        }
    }

    /// Everything that has not been read yet.
    pub fn rest(&mut self) -> Result<Vec<u8>, BadInput> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => Err(self.broken(&e)),
        }
    }

    /// Reads until `buffer` is full or the input ends, and says how many bytes there were.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, BadInput> {
        let mut full = 0;
        while full < buffer.len() {
            match self.stream.read(&mut buffer[full..]) {
                Ok(0) => break,
                Ok(n) => full += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
        Ok(full)
    }

    /// Counts and hash; complete when the input has been read to its end.
    pub fn digested(&self) -> Digested {
        match self.seen.lock() {
            Ok(seen) => Digested {
                bytes: seen.0,
                sha256: seen.1.clone().map(|h| h.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            },
            Err(_) => Digested::default(),
        }
    }
}

/// Bytes of text that are parsed by one task: large beside what a task costs, small beside the memory of a machine even when every one
/// of many threads holds two.
pub const BLOCK: usize = 1 << 20;
/// A longer line is no line of numbers.
const LONGEST_LINE: usize = 1 << 24;

/// Text in blocks of whole lines.
pub struct Blocks<'a> {
    input: &'a mut Input,
    carry: Vec<u8>,
    size: usize,
    ended: bool,
}

impl<'a> Blocks<'a> {
    /// Blocks of about `block` bytes.
    pub fn new(input: &'a mut Input, block: usize) -> Self {
        Blocks { input, carry: Vec::new(), size: block.max(1), ended: false }
    }

    /// What messages call the input.
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// The next block: whole lines, the last one of the file perhaps without its line feed. `None` at the end.
    pub fn block(&mut self) -> Result<Option<Vec<u8>>, BadInput> {
        let mut text = std::mem::take(&mut self.carry);
        let mut searched = 0;
        loop {
            if !self.ended && text.len() < self.size + searched {
                let old = text.len();
                let wanted = self.size + searched - old;
                text.resize(old + wanted, 0);
                let got = self.input.fill(&mut text[old..])?;
                text.truncate(old + got);
                self.ended = got < wanted;
            }
            if self.ended {
                return Ok((!text.is_empty()).then_some(text));
            }
            match text[searched..].iter().rposition(|c| *c == b'\n') {
                Some(at) => {
                    self.carry = text.split_off(searched + at + 1);
                    return Ok(Some(text));
                }
                None if text.len() > LONGEST_LINE => {
                    let what = format!("found a line of more than {} MiB, expected lines of a few numbers", LONGEST_LINE >> 20);
                    return Err(BadInput::new(self.input.name(), what));
                }
                None => searched = text.len(),
            }
        }
    }

    /// As many blocks as keep every thread busy; none at the end. How many there are does not change what they hold.
    pub fn round(&mut self) -> Result<Vec<Vec<u8>>, BadInput> {
        let most = 2 * rayon::current_num_threads();
        let mut blocks = Vec::with_capacity(most);
        while blocks.len() < most {
            match self.block()? {
                Some(block) => blocks.push(block),
                None => break,
            }
        }
        Ok(blocks)
    }

    /// Puts bytes back in front of what comes.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.carry.splice(..0, bytes.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_whole_lines_and_nothing_is_lost(text in "[a-c\n]{0,200}", block in 1usize..50) {
            if !text.is_empty() {
                let mut input = Input::from_bytes("t", text.clone().into_bytes()).unwrap();
                let mut blocks = Blocks::new(&mut input, block);
                let mut all = Vec::new();
                while let Some(b) = blocks.block().unwrap() {
                    prop_assert!(!b.is_empty());
                    all.push(b);
                }
                for b in &all[..all.len().saturating_sub(1)] {
                    prop_assert!(b.ends_with(b"\n"));
                }
                prop_assert_eq!(all.concat(), text.into_bytes());
            }
        }
    }

    #[test]
    fn unpacks_hashes_and_says_what_is_damaged() {
        use std::io::Write;
        let text = b"1 1 1 2.5\n".repeat(10_000);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&text).unwrap();
        for packed in [gz.finish().unwrap(), zstd::encode_all(&text[..], 3).unwrap()] {
            let mut input = Input::from_reader("t", Box::new(Cursor::new(packed.clone())), true).unwrap();
            assert_eq!(input.rest().unwrap(), text);
            let digested = input.digested();
            assert_eq!(digested.bytes, packed.len());
            let source = crate::table::Source::from_bytes("t", packed.clone()).unwrap();
            assert_eq!(digested.sha256.as_deref(), Some(source.sha256()));
            let cut = packed[..packed.len() - 9].to_vec();
            let e = Input::from_bytes("t", cut).and_then(|mut i| i.rest()).unwrap_err().to_string();
            assert!(e.contains("cut off"), "{e}");
        }
        assert!(Input::from_bytes("t", Vec::new()).err().unwrap().to_string().contains("empty"));
        assert!(Input::open("/no/such.tns", false).err().unwrap().to_string().contains("no such file"));
        assert!(Input::open("/", false).err().unwrap().to_string().contains("directory"));
    }
}
