//! One capture file.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;

use super::error::{CaptureError, FirstBytes};
use super::pcap::{FILE_HEADER, HeaderError, Pcap};
use super::pcapng::{self, NoBlock, SECTION_HEADER, SECTION_HEADER_LEN, Section};
use super::state::{Format, WalkState, Window};
use super::walk::Walker;
use super::{foreign, mmap};
use crate::model::{InputPos, LinkType, PayloadSource};

/// What is read beyond what was asked for, so that the record across the end is likely in it: bytes.
const MARGIN: u64 = 256 << 10;
/// How far into a file the interfaces at its beginning are looked for, bytes.
const HEAD: u64 = 1 << 20;

/// The format of a capture, as far as its beginning tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatInfo {
    /// `pcap-le-us`, `pcap-be-ns`, `pcap-le-modified`, … or `pcapng`.
    pub name: &'static str,
    /// Link types, in order, each once. Of a pcapng, those of the interfaces described before its
    /// first packet.
    pub links: Vec<LinkType>,
    /// Snap length, bytes; the greatest where there are several, and 0 = no limit.
    pub snaplen: u32,
}

enum Backing {
    Map(Mmap),
    File(File),
}

/// One capture file, opened.
pub struct Input {
    path: PathBuf,
    file: u16,
    len: u64,
    backing: Backing,
    start: WalkState,
    info: FormatInfo,
    error: OnceLock<io::Error>,
}

impl Input {
    /// Opens the capture at `path`, which becomes file number `file`, and finds out its format.
    ///
    /// With `use_mmap` the file is mapped into memory; a file that shrinks meanwhile then ends the
    /// process. Without, it is read in blocks, and shrinking is an error like any other.
    pub fn open(path: &Path, file: u16, use_mmap: bool) -> Result<Input, CaptureError> {
        let io_error = |action| {
            move |source: io::Error| CaptureError::from_io(path.to_path_buf(), action, source)
        };
        // Looked at before it is opened, since opening a pipe without a writer never returns.
        let metadata = fs::metadata(path).map_err(io_error("look at it"))?;
        if metadata.is_dir() {
            return Err(CaptureError::Directory { path: path.into() });
        }
        if !metadata.is_file() {
            return Err(CaptureError::NotRegular { path: path.into() });
        }
        let handle = File::open(path).map_err(io_error("open it"))?;
        let len = handle.metadata().map_err(io_error("look at it"))?.len();
        if len == 0 {
            return Err(CaptureError::Empty { path: path.into() });
        }
        if len >= 1 << InputPos::OFFSET_BITS {
            return Err(CaptureError::TooLarge {
                path: path.into(),
                bytes: len,
            });
        }
        let mut head = [0; 64];
        let got = read_up_to(&handle, &mut head, 0).map_err(io_error("read it"))?;
        let head = head.get(..got).unwrap_or_default();
        let start = detect(path, len, head)?;
        let backing = if use_mmap {
            Backing::Map(mmap::map(&handle).map_err(io_error("map it into memory"))?)
        } else {
            Backing::File(handle)
        };
        let mut input = Input {
            path: path.into(),
            file,
            len,
            backing,
            info: FormatInfo {
                name: "pcapng",
                links: Vec::new(),
                snaplen: 0,
            },
            start,
            error: OnceLock::new(),
        };
        input.info = input.look().map_err(io_error("read it"))?;
        Ok(input)
    }

    /// Length of the file when it was opened, bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty file is not opened")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number.
    pub const fn file(&self) -> u16 {
        self.file
    }

    /// Its format.
    pub const fn format(&self) -> &FormatInfo {
        &self.info
    }

    /// The state in which a walk of the whole file begins.
    pub fn start(&self) -> WalkState {
        self.start.clone()
    }

    /// The bytes from offset `from` on: all of them with a memory map, otherwise `at_least` and some
    /// more, or as many as there are.
    pub fn window(&self, from: u64, at_least: u64) -> io::Result<Window<'_>> {
        let from = from.min(self.len);
        match &self.backing {
            Backing::Map(map) => {
                let start = usize::try_from(from).unwrap_or(usize::MAX);
                let data = map.get(start..).unwrap_or_default();
                Ok(Window::new(Cow::Borrowed(data), from, self.file, true))
            }
            Backing::File(file) => {
                let wanted = at_least.saturating_add(MARGIN).min(self.len - from);
                let wanted = usize::try_from(wanted).map_err(io::Error::other)?;
                let mut data = vec![0; wanted];
                let got = read_up_to(file, &mut data, from)?;
                if got < wanted {
                    return Err(shrunk(self.len, from + got as u64));
                }
                let at_eof = from + got as u64 == self.len;
                Ok(Window::new(Cow::Owned(data), from, self.file, at_eof))
            }
        }
    }

    /// The first error that reading payload met, if any. What was read then is short.
    pub fn read_error(&self) -> Option<&io::Error> {
        self.error.get()
    }

    /// Finds out the format, for which a pcapng is walked up to its first packet.
    fn look(&self) -> io::Result<FormatInfo> {
        let (name, state) = match self.start.format() {
            Format::Pcap(pcap) => (pcap.name(), self.start()),
            Format::Pcapng(_) => {
                let window = self.window(0, HEAD)?;
                let mut walker = Walker::new(&window, self.start(), HEAD);
                walker.next();
                ("pcapng", walker.finish().0)
            }
        };
        let mut info = FormatInfo {
            name,
            links: Vec::new(),
            snaplen: 0,
        };
        let interfaces = state.interfaces();
        for (link, _) in &interfaces {
            if !info.links.contains(link) {
                info.links.push(*link);
            }
        }
        if interfaces.iter().all(|(_, snaplen)| *snaplen != 0) {
            info.snaplen = interfaces
                .iter()
                .map(|(_, snaplen)| *snaplen)
                .max()
                .unwrap_or(0);
        }
        Ok(info)
    }
}

impl PayloadSource for Input {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        let wanted = super::bytes::index(len);
        if at.file() != self.file {
            let text = format!("no file number {} is open here", at.file());
            let _ = self.error.set(io::Error::other(text));
            return Cow::Borrowed(&[]);
        }
        match &self.backing {
            Backing::Map(map) => {
                let start = usize::try_from(at.offset()).unwrap_or(usize::MAX);
                let rest = map.get(start..).unwrap_or_default();
                let data = rest.get(..wanted).unwrap_or(rest);
                if data.len() < wanted {
                    let _ = self
                        .error
                        .set(shrunk(at.offset() + u64::from(len), self.len));
                }
                Cow::Borrowed(data)
            }
            Backing::File(file) => {
                let mut data = vec![0; wanted];
                let (got, error) = read_some(file, &mut data, at.offset());
                data.truncate(got);
                let error = match error {
                    None if got < wanted => {
                        let end = at.offset() + u64::from(len);
                        Some(shrunk(end, at.offset() + got as u64))
                    }
                    error => error,
                };
                if let Some(error) = error {
                    // Only the first is kept; the others tell nothing new.
                    let _ = self.error.set(error);
                }
                Cow::Owned(data)
            }
        }
    }
}

/// The format that the first bytes of a file tell.
pub(super) fn detect(path: &Path, len: u64, head: &[u8]) -> Result<WalkState, CaptureError> {
    let cut = |format, need: usize| CaptureError::HeaderCut {
        path: path.into(),
        format,
        have: len,
        need: need as u64,
    };
    let foreign = || {
        let (what, advice) = foreign::identify(head);
        CaptureError::Foreign {
            path: path.into(),
            what,
            first: FirstBytes::of(head),
            advice,
        }
    };
    // A section header's type reads the same in both byte orders.
    if super::bytes::u32_at(head, 0, false) == Some(SECTION_HEADER) {
        if head.len() < SECTION_HEADER_LEN {
            return Err(cut("pcapng", SECTION_HEADER_LEN));
        }
        let big_endian = match pcapng::byte_order(head) {
            Ok(big_endian) => big_endian,
            Err(NoBlock::Short) => return Err(cut("pcapng", SECTION_HEADER_LEN)),
            Err(NoBlock::Damaged(_)) => return Err(foreign()),
        };
        let version = |at| super::bytes::u16_at(head, at, big_endian).unwrap_or(0);
        if version(12) != 1 {
            return Err(CaptureError::Version {
                path: path.into(),
                format: "pcapng",
                major: version(12),
                minor: version(14),
                supported: "1.x",
            });
        }
        let format = Format::Pcapng(Arc::new(Section::new(big_endian)));
        return Ok(WalkState::new(0, format));
    }
    match Pcap::open(head) {
        Ok(pcap) => Ok(WalkState::new(FILE_HEADER as u64, Format::Pcap(pcap))),
        Err(HeaderError::NotPcap) => Err(foreign()),
        Err(HeaderError::Cut) => Err(cut("pcap", FILE_HEADER)),
        Err(HeaderError::Version(major, minor)) => Err(CaptureError::Version {
            path: path.into(),
            format: "pcap",
            major,
            minor,
            supported: "2.0 to 2.4, and 543.0",
        }),
    }
}

/// Fills `buffer` from offset `from`; returns how much there was.
fn read_up_to(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    match read_some(file, buffer, from) {
        (_, Some(error)) => Err(error),
        (got, None) => Ok(got),
    }
}

/// As [`read_up_to`], but tells what was read before an error, too.
fn read_some(file: &File, buffer: &mut [u8], from: u64) -> (usize, Option<io::Error>) {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + got as u64) {
            Ok(0) => break,
            Ok(bytes) => got += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (got, Some(error)),
        }
    }
    (got, None)
}

fn shrunk(expected: u64, end: u64) -> io::Error {
    let text = format!("the file ends at byte {end} and was expected to reach byte {expected}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
