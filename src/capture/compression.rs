//! Compressed captures: which compression a file has, and its bytes without it.
//!
//! All four formats allow several streams one behind the other (tools that compress in parallel, or
//! append, write such files). Here they are told apart, so that what follows the last stream is judged
//! in one place: zeros are padding, anything else is damage.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::XzReader;

/// Memory for the dictionary of an xz stream, KiB. `xz -9` takes 64 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz format.
    Xz,
    /// The LZ4 frame format.
    Lz4,
}

impl Compression {
    /// Bytes that tell the compression.
    pub(super) const MAGIC: usize = 6;

    /// The compression that the first bytes of a file tell.
    pub(super) fn of(head: &[u8]) -> Option<Compression> {
        match head {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            // Parallel compressors put a skippable frame first. LZ4 has the same ones, but no tool
            // is known that would begin with one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Some(Compression::Zstd)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Compression::Lz4),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Lz4 => "lz4",
        }
    }

    /// Whether a stream of it may begin with this byte.
    const fn begins(self, first: u8) -> bool {
        match self {
            Compression::Gzip => first == 0x1f,
            Compression::Zstd => matches!(first, 0x28 | 0x50..=0x5f),
            Compression::Xz => first == 0xfd,
            Compression::Lz4 => matches!(first, 0x04 | 0x50..=0x5f),
        }
    }
}

/// What a compressed file holds.
pub(super) struct Decompressor<R: BufRead> {
    compression: Compression,
    state: State<R>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each file that is decompressed"
)]
enum State<R: BufRead> {
    /// Before a stream, or behind the last one.
    Between(R),
    Gzip(GzDecoder<R>),
    Zstd(zstd::Decoder<'static, R>),
    Xz(XzReader<R>),
    Lz4(FrameDecoder<Noting<R>>),
    /// At the end, or behind an error.
    Over,
}

impl<R: BufRead> Decompressor<R> {
    /// What `reader` gives, decompressed.
    pub(super) const fn new(compression: Compression, reader: R) -> Decompressor<R> {
        Decompressor {
            compression,
            state: State::Between(reader),
        }
    }

    /// Begins the next stream, if there is one.
    fn begin(&self, mut reader: R) -> io::Result<State<R>> {
        let first = loop {
            let Some(&first) = fill(&mut reader)?.first() else {
                return Ok(State::Over);
            };
            if first != 0 {
                break first;
            }
            reader.consume(1);
        };
        if !self.compression.begins(first) {
            return Err(damage("other bytes follow the compressed ones"));
        }
        Ok(match self.compression {
            Compression::Gzip => State::Gzip(GzDecoder::new(reader)),
            Compression::Zstd => State::Zstd(zstd::Decoder::with_buffer(reader)?.single_frame()),
            Compression::Xz => State::Xz(XzReader::new_mem_limit(reader, false, XZ_MEMORY)),
            Compression::Lz4 if first >= 0x50 => {
                skip_frame(&mut reader)?;
                State::Between(reader)
            }
            Compression::Lz4 => State::Lz4(FrameDecoder::new(Noting {
                reader,
                ended: false,
            })),
        })
    }
}

impl<R: BufRead> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let got = match &mut self.state {
                State::Between(_) => 0,
                State::Gzip(stream) => stream.read(buffer)?,
                State::Zstd(stream) => stream.read(buffer)?,
                State::Xz(stream) => stream.read(buffer)?,
                State::Lz4(stream) => stream.read(buffer)?,
                State::Over => return Ok(0),
            };
            if got > 0 {
                return Ok(got);
            }
            // An error leaves the state over.
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Between(reader) => self.begin(reader)?,
                State::Gzip(stream) => State::Between(stream.into_inner()),
                State::Zstd(stream) => State::Between(stream.finish()),
                State::Xz(stream) => State::Between(stream.into_inner()),
                State::Lz4(stream) => State::Between(stream.into_inner().whole()?),
                State::Over => State::Over,
            };
        }
    }
}

/// Notes whether a reader came to its end, since the LZ4 decoder takes that for the end of a frame.
struct Noting<R> {
    reader: R,
    ended: bool,
}

impl<R> Noting<R> {
    fn whole(self) -> io::Result<R> {
        if self.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.reader)
    }
}

impl<R: Read> Read for Noting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.ended |= got == 0 && !buffer.is_empty();
        Ok(got)
    }
}

fn fill<R: BufRead>(reader: &mut R) -> io::Result<&[u8]> {
    // Tried again where it was interrupted; a loop around the borrow that is returned cannot be.
    while let Err(error) = reader.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    reader.fill_buf()
}

/// Passes over a skippable frame: four bytes of magic, four of length, and so many more.
fn skip_frame(reader: &mut impl BufRead) -> io::Result<()> {
    let mut header = [0; 8];
    reader.read_exact(&mut header)?;
    let [_, magic @ .., a, b, c, d] = header;
    if magic != [0x2a, 0x4d, 0x18] {
        return Err(damage("other bytes follow the compressed ones"));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if io::copy(&mut reader.take(length), &mut io::sink())? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn damage(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn compress(how: Compression, bytes: &[u8]) -> Vec<u8> {
        match how {
            Compression::Gzip => {
                let mut out =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Compression::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(0);
                let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
            Compression::Lz4 => {
                let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
        }
    }

    fn decompress(compressed: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        let how = Compression::of(compressed).unwrap();
        let mut all = Vec::new();
        let result = Decompressor::new(how, compressed).read_to_end(&mut all);
        (all, result)
    }

    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Xz,
        Compression::Lz4,
    ];
    const SKIPPABLE: &[u8] = b"\x51\x2a\x4d\x18\x03\0\0\0any";

    #[test]
    fn streams_follow_each_other_with_padding_between() {
        for how in ALL {
            let mut file = compress(how, b"one, ");
            file.extend([0; 8]);
            file.extend(compress(how, b""));
            if matches!(how, Compression::Zstd | Compression::Lz4) {
                file.extend(SKIPPABLE);
            }
            file.extend(compress(how, b"two"));
            file.extend([0; 5]);
            let (all, result) = decompress(&file);
            assert_eq!(all, b"one, two", "{how:?}");
            assert!(result.is_ok(), "{how:?}: {result:?}");
        }
        let parallel = [SKIPPABLE, &compress(Compression::Zstd, b"x")].concat();
        assert_eq!(decompress(&parallel).0, b"x");
    }

    #[test]
    fn every_stream_that_ends_early_is_told() {
        let bytes: Vec<u8> = (0..9000u32)
            .map(|n| ((n * n) >> 7).to_le_bytes()[0])
            .collect();
        for how in ALL {
            let whole = compress(how, &bytes);
            let file = [&whole[..], &whole].concat();
            for end in Compression::MAGIC..file.len() {
                let (all, result) = decompress(&file[..end]);
                if end == whole.len() {
                    assert!(result.is_ok() && all == bytes, "{how:?}");
                    continue;
                }
                assert!(result.is_err(), "{how:?} cut at {end} of {}", file.len());
                assert!(
                    end < whole.len() || all.starts_with(&bytes),
                    "{how:?} at {end}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Whatever the bytes, it ends, and without a panic.
        #[test]
        fn damaged_streams_end(
            which in 0..ALL.len(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            noise in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let bytes: Vec<u8> = (0..3000u32).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect();
            let mut file = compress(ALL[which], &bytes);
            for (at, value) in edits {
                let at = Compression::MAGIC + at.index(file.len() - Compression::MAGIC);
                file[at] = value;
            }
            file.extend(noise);
            let mut reader = Decompressor::new(ALL[which], &file[..]).take(1 << 20);
            let _ = io::copy(&mut reader, &mut io::sink());
        }
    }
}
