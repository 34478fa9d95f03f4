//! The beginning of a capture, read once before anything else.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use super::beginning::Beginning;
use super::detect::{self, detect};
use super::error::CaptureError;
use super::state::{Format, Window};
use crate::model::LinkType;

/// How much of a capture that can be read once only is held in memory while its beginning is looked at,
/// bytes.
const MOST_KEPT: usize = 1 << 20;
/// What is read first, bytes; as a rule it holds a frame.
const FIRST: usize = 4096;
/// What is read at a time at most, bytes.
const MOST: usize = 16 << 20;

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

/// What the beginning of a capture tells.
pub(super) struct Head {
    /// The bytes read for it, where they are kept.
    pub(super) bytes: Vec<u8>,
    /// What they tell.
    pub(super) beginning: Beginning,
    /// More bytes would tell more.
    pub(super) is_cut: bool,
}

/// Whether the bytes that are read are needed once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// They are: they can be had once only.
    All,
    /// They are not.
    None,
}

/// Why the beginning of a capture tells nothing.
pub(super) enum NoHead {
    /// It is no capture.
    Capture(CaptureError),
    /// It could not be read so far that the format is known.
    Read(io::Error),
}

/// Reads no further than it must, since more may not have been captured yet. An error after the
/// format is known is left to whoever reads on from there.
pub(super) fn read(path: &Path, reader: &mut dyn Read, keep: Keep) -> Result<Head, NoHead> {
    let mut source = Source {
        reader,
        bytes: Vec::new(),
        base: 0,
        eof: false,
    };
    let start = loop {
        source.more(MOST).map_err(NoHead::Read)?;
        if source.bytes.is_empty() && source.eof {
            return Err(NoHead::Capture(CaptureError::Empty { path: path.into() }));
        }
        match detect(path, &source.bytes) {
            Ok(state) => break state,
            Err(_) if !source.eof && source.bytes.len() < detect::ENOUGH => {}
            Err(error) => return Err(NoHead::Capture(error)),
        }
    };
    let mut beginning = Beginning::new(start);
    let mut is_cut = false;
    loop {
        let window = Window::new(Cow::Borrowed(&source.bytes), source.base, 0, source.eof);
        if beginning.look(&window) || source.eof {
            break;
        }
        let most = match keep {
            Keep::All => MOST_KEPT.saturating_sub(source.bytes.len()),
            Keep::None => {
                source.forget_before(beginning.offset());
                MOST
            }
        };
        is_cut = most == 0;
        if is_cut || source.more(most).is_err() {
            break;
        }
    }
    Ok(Head {
        bytes: source.bytes,
        beginning,
        is_cut,
    })
}

struct Source<'a> {
    reader: &'a mut dyn Read,
    bytes: Vec<u8>,
    /// The offset of the first of them.
    base: u64,
    eof: bool,
}

impl Source<'_> {
    /// Waits for more bytes, and takes what is there.
    fn more(&mut self, most: usize) -> io::Result<()> {
        let have = self.bytes.len();
        self.bytes.resize(have + have.max(FIRST).min(most), 0);
        let got = loop {
            match self
                .reader
                .read(self.bytes.get_mut(have..).unwrap_or_default())
            {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.bytes
            .truncate(have + got.as_ref().map_or(0, |&got| got));
        self.eof = got? == 0;
        Ok(())
    }

    fn forget_before(&mut self, offset: u64) {
        let gone = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let gone = gone.min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base += gone as u64;
    }
}

impl FormatInfo {
    /// What is known of a capture whose records have this format.
    pub(super) fn of(format: &Format) -> FormatInfo {
        let interfaces = format.interfaces();
        let mut links = Vec::new();
        for (link, _) in &interfaces {
            if !links.contains(link) {
                links.push(*link);
            }
        }
        let unlimited = interfaces.iter().any(|(_, snaplen)| *snaplen == 0);
        let greatest = interfaces.iter().map(|(_, snaplen)| *snaplen).max();
        FormatInfo {
            name: match format {
                Format::Pcap(pcap) => pcap.name(),
                Format::Pcapng(_) => "pcapng",
            },
            links,
            snaplen: greatest.filter(|_| !unlimited).unwrap_or(0),
        }
    }
}
