//! Compressed captures: which compression a file has, and its bytes without it.
//!
//! All four formats allow several streams one behind the other (tools that compress in parallel, or
//! append, write such files). Here they are told apart, so that what follows the last stream is judged
//! in one place: zeros are padding, anything else is damage.
//!
//! A decoder that meets damage gives nothing of what that call would have brought. So what comes out
//! depends on how much it is given and asked for at a time, and both are always the same here
//! ([`Even`], [`PIECE`]): damage costs the same bytes wherever the file comes from.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::XzReader;
use zstd::stream::raw::{self, InBuffer, Operation, OutBuffer};

/// Memory for an xz stream, KiB: a dictionary of 256 MiB, which is a choice (`xz -9` takes 64), and
/// what the decoder needs besides.
const XZ_MEMORY: u32 = (256 << 10) + 1024;
/// Compressed bytes that a decoder gets at a time.
const CHUNK: usize = 16 << 10;
/// Bytes that a decoder is asked for at a time: so many at most are lost where it meets damage.
const PIECE: usize = 4 << 10;

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

/// What the first bytes of a file tell of its compression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Begins {
    /// A stream of this kind begins.
    Stream(Compression),
    /// A frame to be skipped, which zstd and LZ4 have in common (RFC 8878, 3.1.2).
    Skippable,
    /// It is not compressed.
    Plain,
}

impl Begins {
    fn of(head: &[u8]) -> Begins {
        match head {
            [0x1f, 0x8b, ..] => Begins::Stream(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Begins::Stream(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Begins::Stream(Compression::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Begins::Stream(Compression::Lz4),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Begins::Skippable,
            _ => Begins::Plain,
        }
    }
}

impl Compression {
    /// Bytes that tell the compression.
    pub(super) const MAGIC: usize = 6;

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Lz4 => "lz4",
        }
    }

    /// Whether these are the first bytes of a stream of it, or of a frame to be skipped in one, and fewer than
    /// tell it.
    fn is_cut(self, head: &[u8]) -> bool {
        let is_begin_of = |magic: &[u8]| head.len() < magic.len() && magic.starts_with(head);
        let is_skippable = || {
            let [first, rest @ ..] = head else {
                return false;
            };
            (0x50..=0x5f).contains(first) && rest.len() < 3 && [0x2a, 0x4d, 0x18].starts_with(rest)
        };
        match self {
            Compression::Gzip => is_begin_of(&[0x1f, 0x8b]),
            Compression::Zstd => is_begin_of(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(),
            Compression::Xz => is_begin_of(&[0xfd, b'7', b'z', b'X', b'Z', 0]),
            Compression::Lz4 => is_begin_of(&[0x04, 0x22, 0x4d, 0x18]) || is_skippable(),
        }
    }
}

/// What is wrong with a compressed file, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    pub(super) text: String,
    pub(super) advice: &'static str,
}

impl Trouble {
    /// What an error of a decoder means.
    pub(super) fn of(error: &io::Error) -> Trouble {
        let text = error.to_string();
        let (text, advice) = match error.kind() {
            io::ErrorKind::UnexpectedEof => (
                "ends early".to_owned(),
                "it was cut short: fetch the file again, or let whatever writes it come to its end",
            ),
            io::ErrorKind::OutOfMemory => (
                "needs a dictionary of more than 256 MiB".to_owned(),
                "decompress it with another program: xz -dc FILE | bulkreasm - --out DIR",
            ),
            io::ErrorKind::Unsupported => (
                format!("is of a kind that is not read: {text}"),
                "decompress it with another program: xz -dc FILE | bulkreasm - --out DIR",
            ),
            // The library's texts for ZSTD_error_frameParameter_windowTooLarge and
            // ZSTD_error_dictionary_wrong.
            _ if text.contains("requires too much memory") => (
                "needs a window of more than 128 MiB".to_owned(),
                "decompress it with another program: zstd -dc --long=31 FILE | bulkreasm - --out DIR",
            ),
            _ if text.contains("Dictionary mismatch") => (
                "needs a dictionary".to_owned(),
                "decompress it with that: zstd -dc -D DICTIONARY FILE | bulkreasm - --out DIR",
            ),
            _ => (format!("is damaged: {text}"), "fetch the file again"),
        };
        Trouble { text, advice }
    }
}

/// Finds out how `reader` is compressed, if it is; gives what it holds, decompressed.
pub(super) fn open<R: Read + Send + 'static>(
    mut reader: R,
) -> io::Result<(Option<Compression>, Box<dyn Read + Send>)> {
    let mut head = Vec::new();
    (&mut reader)
        .take(Compression::MAGIC as u64)
        .read_to_end(&mut head)?;
    let mut begins = Begins::of(&head);
    if begins == Begins::Plain {
        return Ok((None, Box::new(io::Cursor::new(head).chain(reader))));
    }
    let mut even = Even::new(io::Cursor::new(head).chain(reader));
    // Parallel compressors put a skippable frame first. What follows says whose it is.
    while begins == Begins::Skippable {
        let ahead = even.ahead(Compression::MAGIC)?;
        match (Begins::of(ahead), ahead.first()) {
            (Begins::Skippable, _) => skip_frame(&mut even)?,
            (_, Some(0x04)) => begins = Begins::Stream(Compression::Lz4),
            _ => begins = Begins::Stream(Compression::Zstd),
        }
    }
    let compression = match begins {
        Begins::Stream(compression) => compression,
        Begins::Skippable | Begins::Plain => Compression::Zstd,
    };
    let decompressor = Decompressor::new(compression, even);
    Ok((Some(compression), Box::new(decompressor)))
}

/// Hands on bytes so many at a time, however many its reader gives at a time.
struct Even<R> {
    reader: R,
    buffer: Vec<u8>,
    at: usize,
    over: bool,
    failed: Option<Failure>,
}

/// An error that is told again and again.
type Failure = (io::ErrorKind, String);

fn again((kind, text): &Failure) -> io::Error {
    io::Error::new(*kind, text.clone())
}

impl<R: Read> Even<R> {
    const fn new(reader: R) -> Even<R> {
        Even {
            reader,
            buffer: Vec::new(),
            at: 0,
            over: false,
            failed: None,
        }
    }

    /// The next bytes, as many as these at least: fewer only before the end.
    fn ahead(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.buffer.len().saturating_sub(self.at) < count {
            self.refill();
            if let (true, Some(failure)) = (self.buffer.len() < count, &self.failed) {
                return Err(again(failure));
            }
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    /// Reads the next bytes behind those that are left: fewer than [`CHUNK`] only before the end or an error.
    fn refill(&mut self) {
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        let mut filled = self.buffer.len();
        self.buffer.resize(filled.max(CHUNK), 0);
        while let Some(room) = self
            .buffer
            .get_mut(filled..)
            .filter(|room| !room.is_empty())
            && !self.over
        {
            match self.reader.read(room) {
                Ok(got) => {
                    filled += got;
                    self.over = got == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // What came before it is handed on first.
                    self.failed = Some((error.kind(), error.to_string()));
                    self.over = true;
                }
            }
        }
        self.buffer.truncate(filled);
    }
}

impl<R: Read> BufRead for Even<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            if let Some(failure) = &self.failed {
                return Err(again(failure));
            }
            self.refill();
            if let (true, Some(failure)) = (self.buffer.is_empty(), &self.failed) {
                return Err(again(failure));
            }
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.at.saturating_add(amount).min(self.buffer.len());
    }
}

impl<R: Read> Read for Even<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buffer)?;
        self.consume(got);
        Ok(got)
    }
}

/// What a compressed file holds.
struct Decompressor<R: Read> {
    compression: Compression,
    state: State<R>,
    /// Serves one frame after the other: to make one takes longer than to decode a small frame.
    zstd: Option<raw::Decoder<'static>>,
    piece: Vec<u8>,
    at: usize,
    /// Whoever reads on behind an error meets it again.
    failed: Option<Failure>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each file that is decompressed"
)]
enum State<R: Read> {
    /// Before a stream, or behind the last one.
    Between(Even<R>),
    Gzip(GzDecoder<Even<R>>),
    Zstd(ZstdFrame<R>),
    Xz(XzReader<Even<R>>),
    Lz4(FrameDecoder<Noting<Even<R>>>),
    /// At the end, or behind an error.
    Over,
}

impl<R: Read> Decompressor<R> {
    /// What `reader` gives, decompressed.
    const fn new(compression: Compression, reader: Even<R>) -> Decompressor<R> {
        Decompressor {
            compression,
            state: State::Between(reader),
            zstd: None,
            piece: Vec::new(),
            at: 0,
            failed: None,
        }
    }

    /// Begins the next stream, if there is one.
    fn begin(&mut self, mut reader: Even<R>) -> io::Result<State<R>> {
        loop {
            match fill(&mut reader)?.first() {
                None => return Ok(State::Over),
                Some(0) => reader.consume(1),
                Some(_) => break,
            }
        }
        let ahead = reader.ahead(Compression::MAGIC)?;
        let has_skippable = matches!(self.compression, Compression::Zstd | Compression::Lz4);
        match Begins::of(ahead) {
            Begins::Stream(next) if next == self.compression => {}
            Begins::Skippable if has_skippable => {
                skip_frame(&mut reader)?;
                return Ok(State::Between(reader));
            }
            // Only bytes that go on as a stream would are one that was cut short.
            _ if self.compression.is_cut(ahead) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            _ => return Err(damage("other bytes follow the compressed ones")),
        }
        Ok(match self.compression {
            Compression::Gzip => State::Gzip(GzDecoder::new(reader)),
            Compression::Zstd => {
                match &mut self.zstd {
                    Some(decoder) => decoder.reinit()?,
                    none => *none = Some(raw::Decoder::new()?),
                }
                State::Zstd(ZstdFrame {
                    reader,
                    ended: false,
                })
            }
            Compression::Xz => State::Xz(XzReader::new_mem_limit(reader, false, XZ_MEMORY)),
            Compression::Lz4 => State::Lz4(FrameDecoder::new(Noting {
                reader,
                ended: false,
            })),
        })
    }

    /// Decodes the next piece; an empty one is the end.
    fn decode(&mut self) -> io::Result<()> {
        self.piece.resize(PIECE, 0);
        loop {
            let got = match &mut self.state {
                State::Between(_) => 0,
                State::Gzip(stream) => stream.read(&mut self.piece)?,
                State::Zstd(frame) => frame.read(self.zstd.as_mut(), &mut self.piece)?,
                State::Xz(stream) => stream.read(&mut self.piece)?,
                State::Lz4(stream) => stream.read(&mut self.piece)?,
                State::Over => {
                    self.piece.clear();
                    return Ok(());
                }
            };
            if got > 0 {
                self.piece.truncate(got);
                return Ok(());
            }
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Between(reader) => self.begin(reader)?,
                State::Gzip(stream) => State::Between(stream.into_inner()),
                State::Zstd(frame) => State::Between(frame.reader),
                State::Xz(stream) => State::Between(stream.into_inner()),
                State::Lz4(stream) => State::Between(stream.into_inner().whole()?),
                State::Over => State::Over,
            };
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.at >= self.piece.len() {
            if let Some(failure) = &self.failed {
                return Err(again(failure));
            }
            self.at = 0;
            if let Err(error) = self.decode() {
                // The decoder is broken: nothing that it would still give is part of the file.
                self.piece.clear();
                self.state = State::Over;
                self.failed = Some((error.kind(), error.to_string()));
                return Err(error);
            }
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        let got = rest.read(buffer)?;
        self.at += got;
        Ok(got)
    }
}

/// One zstd frame.
struct ZstdFrame<R> {
    reader: Even<R>,
    ended: bool,
}

impl<R: Read> ZstdFrame<R> {
    fn read(
        &mut self,
        decoder: Option<&mut raw::Decoder<'static>>,
        piece: &mut [u8],
    ) -> io::Result<usize> {
        let Some(decoder) = decoder else {
            return Ok(0);
        };
        let mut output = OutBuffer::around(piece);
        while !self.ended && output.pos() == 0 {
            let bytes = fill(&mut self.reader)?;
            let at_end = bytes.is_empty();
            let mut input = InBuffer::around(bytes);
            let hint = decoder.run(&mut input, &mut output)?;
            let used = input.pos();
            self.reader.consume(used);
            self.ended = hint == 0;
            if at_end && !self.ended && output.pos() == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(output.pos())
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

/// Passes over a skippable frame: four bytes of magic, which was looked at, four of length, and so many more.
fn skip_frame(reader: &mut impl BufRead) -> io::Result<()> {
    let mut header = [0; 8];
    reader.read_exact(&mut header)?;
    let [_, _, _, _, a, b, c, d] = header;
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

    /// Gives so many bytes at a time.
    struct Trickle(io::Cursor<Vec<u8>>, usize);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    /// What comes out of it, and how it ends, when it is given and asked for so many bytes at a time.
    fn in_steps(compressed: &[u8], given: usize, asked: usize) -> (Vec<u8>, io::Result<()>) {
        let reader = Trickle(io::Cursor::new(compressed.to_vec()), given);
        let (how, mut reader) = match open(reader) {
            Ok(opened) => opened,
            Err(error) => return (Vec::new(), Err(error)),
        };
        assert!(how.is_some());
        let (mut all, mut buffer) = (Vec::new(), vec![0; asked]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return (all, Ok(())),
                Ok(got) => all.extend(&buffer[..got]),
                Err(error) => {
                    let told = error.to_string();
                    for _ in 0..3 {
                        let again = reader.read(&mut buffer).unwrap_err();
                        assert_eq!(
                            (again.kind(), again.to_string()),
                            (error.kind(), told.clone())
                        );
                    }
                    return (all, Err(error));
                }
            }
        }
    }

    fn decompress(compressed: &[u8]) -> (Vec<u8>, io::Result<()>) {
        in_steps(compressed, usize::MAX, 1 << 20)
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
        for how in [Compression::Zstd, Compression::Lz4] {
            let parallel = [SKIPPABLE, SKIPPABLE, &compress(how, b"x")].concat();
            assert_eq!(decompress(&parallel).0, b"x");
            let opened = open(io::Cursor::new(parallel)).unwrap();
            assert_eq!(opened.0, Some(how));
        }
    }

    #[test]
    fn every_stream_that_ends_early_is_told() {
        let bytes = noisy(9000);
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

    #[test]
    fn other_bytes_behind_a_stream_are_no_cut_whatever_the_first_of_them() {
        for how in ALL {
            let whole = compress(how, b"all of it");
            let magic = &whole[..if how == Compression::Gzip { 2 } else { 4 }];
            for first in 1..=u8::MAX {
                for junk in [&[first, 0x99][..], &[first, b'a', b'b', b'c'], &[first; 9]] {
                    let (all, result) = decompress(&[&whole, junk].concat());
                    assert_eq!(all, b"all of it", "{how:?} {first:x}");
                    let told = result.unwrap_err().to_string();
                    assert!(
                        told.contains("other bytes follow"),
                        "{how:?} {first:x}: {told}"
                    );
                }
            }
            let is_skipping = matches!(how, Compression::Zstd | Compression::Lz4);
            let skippable = if is_skipping { SKIPPABLE } else { &[] };
            for begun in [magic, skippable] {
                for end in 1..begun.len() {
                    let (_, result) = decompress(&[&whole, &begun[..end]].concat());
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{how:?} {end}");
                }
            }
            // Where a piece of the input ends in the first bytes of a stream, it is no other.
            for padding in CHUNK - whole.len() - 8..CHUNK {
                let padded = [&whole[..], &vec![0; padding], &whole].concat();
                let (all, result) = decompress(&padded);
                assert!(result.is_ok(), "{how:?} {padding}: {result:?}");
                assert_eq!(all, b"all of itall of it");
            }
        }
    }

    fn noisy(len: u32) -> Vec<u8> {
        (0..len).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect()
    }

    #[test]
    fn damage_costs_the_same_bytes_however_they_arrive() {
        let bytes: Vec<u8> = noisy(60_000).repeat(5);
        for how in ALL {
            let whole = compress(how, &bytes);
            for part in 1..20 {
                let mut file = whole.clone();
                let at = file.len() * part / 20;
                file[at] ^= 0x55;
                let (all, result) = decompress(&file);
                for (given, asked) in [(1, 5000), (1000, 1), (70_000, 4096), (16 << 10, 300)] {
                    let (other, ended) = in_steps(&file, given, asked);
                    assert!(
                        other == all,
                        "{how:?} {part}: {} and {}",
                        other.len(),
                        all.len()
                    );
                    assert_eq!(
                        ended.map_err(|e| e.to_string()),
                        result.as_ref().map(|&()| ()).map_err(ToString::to_string)
                    );
                }
            }
        }
    }

    #[test]
    fn many_empty_frames_take_one_decoder() {
        let mut file = compress(Compression::Zstd, b"").repeat(20_000);
        file.extend(b"\x50\x2a\x4d\x18\0\0\0\0".repeat(20_000));
        file.extend(compress(Compression::Zstd, b"end"));
        let mut reader = Decompressor::new(Compression::Zstd, Even::new(&file[..]));
        let mut made = 0;
        let mut all = Vec::new();
        loop {
            let had = reader.zstd.is_some();
            let mut buffer = [0; 100];
            let got = reader.read(&mut buffer).unwrap();
            made += usize::from(!had && reader.zstd.is_some());
            all.extend(&buffer[..got]);
            if got == 0 {
                break;
            }
        }
        assert_eq!((made, &all[..]), (1, &b"end"[..]));
    }

    #[test]
    fn what_is_too_large_is_told_from_damage() {
        let window = {
            let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
            out.window_log(28).unwrap();
            out.write_all(&vec![7; 1000]).unwrap();
            out.finish().unwrap()
        };
        let dictionary = |bytes| {
            let mut options = lzma_rust2::XzOptions::with_preset(0);
            options.lzma_options.dict_size = bytes;
            let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            out.write_all(b"x").unwrap();
            out.finish().unwrap()
        };
        let (_, result) = decompress(&window);
        let trouble = Trouble::of(&result.unwrap_err());
        assert!(trouble.text.contains("window") && trouble.advice.contains("--long=31"));
        for mib in [192, 200, 256] {
            assert_eq!(decompress(&dictionary(mib << 20)).0, b"x", "{mib} MiB");
        }
        let (_, result) = decompress(&dictionary(384 << 20));
        let trouble = Trouble::of(&result.unwrap_err());
        assert!(trouble.text.contains("256 MiB") && trouble.advice.contains("xz -dc"));
        for how in ALL {
            let whole = compress(how, &noisy(9000));
            let (_, result) = decompress(&whole[..whole.len() / 2]);
            let trouble = Trouble::of(&result.unwrap_err());
            assert_eq!(trouble.text, "ends early", "{how:?}");
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
            let mut file = compress(ALL[which], &noisy(3000));
            for (at, value) in edits {
                let at = Compression::MAGIC + at.index(file.len() - Compression::MAGIC);
                file[at] = value;
            }
            file.extend(noise);
            let mut reader = Decompressor::new(ALL[which], Even::new(&file[..])).take(1 << 20);
            let _ = io::copy(&mut reader, &mut io::sink());
        }
    }
}
