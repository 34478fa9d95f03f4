//! The beginning of a capture, read once before anything else: which format it has, which link
//! types, and when its first frame was captured.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

use super::detect::{self, detect};
use super::error::CaptureError;
use super::state::{Format, WalkState, Window};
use super::walk::Walker;
use crate::model::{LinkType, Timestamp};

/// How far into a capture its first frame and interfaces are looked for, bytes.
const MOST: usize = 1 << 20;
/// What is read first, bytes; as a rule it holds a frame.
const FIRST: usize = 4096;

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
    /// The bytes read for it.
    pub(super) bytes: Vec<u8>,
    /// The state in which a walk begins.
    pub(super) start: WalkState,
    /// The format.
    pub(super) info: FormatInfo,
    /// Time of the first frame that has one; [`Timestamp::NONE`] where none of the first mebibyte
    /// has.
    pub(super) first_ts: Timestamp,
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
pub(super) fn read(path: &Path, reader: &mut dyn Read) -> Result<Head, NoHead> {
    let mut source = Source {
        reader,
        bytes: Vec::new(),
        eof: false,
    };
    let mut start = loop {
        source.more().map_err(NoHead::Read)?;
        if source.bytes.is_empty() && source.eof {
            return Err(NoHead::Capture(CaptureError::Empty { path: path.into() }));
        }
        match detect(path, &source.bytes) {
            Ok(state) => break state,
            Err(_) if !source.eof && source.bytes.len() < detect::ENOUGH => {}
            Err(error) => return Err(NoHead::Capture(error)),
        }
    };
    let mut info = None;
    let mut state = start.clone();
    let first_ts = loop {
        let window = Window::new(Cow::Borrowed(&source.bytes), 0, 0, source.eof);
        let mut walker = Walker::new(&window, state, MOST as u64);
        let frame = walker.next();
        if let (Some(frame), None) = (&frame, &info) {
            start.learn(frame);
        }
        let frame = frame.map(|frame| frame.ts);
        state = walker.finish().0;
        match frame {
            Some(ts) => {
                info.get_or_insert_with(|| describe(&state));
                if ts != Timestamp::NONE {
                    break ts;
                }
            }
            None if source.eof || source.bytes.len() >= MOST => break Timestamp::NONE,
            None if source.more().is_err() => break Timestamp::NONE,
            None => {}
        }
    };
    Ok(Head {
        info: info.unwrap_or_else(|| describe(&state)),
        bytes: source.bytes,
        start,
        first_ts,
    })
}

struct Source<'a> {
    reader: &'a mut dyn Read,
    bytes: Vec<u8>,
    eof: bool,
}

impl Source<'_> {
    /// Waits for more bytes, and takes what is there.
    fn more(&mut self) -> io::Result<()> {
        let have = self.bytes.len();
        let most = have.max(FIRST).min(MOST.saturating_sub(have));
        self.bytes.resize(have + most, 0);
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
}

fn describe(state: &WalkState) -> FormatInfo {
    let interfaces = state.interfaces();
    let mut links = Vec::new();
    for (link, _) in &interfaces {
        if !links.contains(link) {
            links.push(*link);
        }
    }
    let unlimited = interfaces.iter().any(|(_, snaplen)| *snaplen == 0);
    let greatest = interfaces.iter().map(|(_, snaplen)| *snaplen).max();
    FormatInfo {
        name: match state.format() {
            Format::Pcap(pcap) => pcap.name(),
            Format::Pcapng(_) => "pcapng",
        },
        links,
        snaplen: greatest.filter(|_| !unlimited).unwrap_or(0),
    }
}
