//! One file of the input.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::beginning::Beginning;
use super::compression::Compression;
use super::error::CaptureError;
use super::feed::{self, Bytes, EndAnyway, Halt, Meter};
use super::head::{self, FormatInfo, Head, Keep, NoHead};
use super::regular::{Identity, OpenFiles, Regular, open_same};
use super::spool::{End, Spooled};
use super::state::{WalkState, Window};
use crate::model::{InputPos, PayloadSource, Timestamp};

/// By what part more must have arrived of a beginning that is looked at once more; so looking again and
/// again costs in proportion to the bytes.
const GROWN_BY: u64 = 8;

/// One file of the input, whose beginning has been looked at. Offsets are those of the capture: in a
/// compressed file, of the bytes that it holds.
pub struct Input {
    path: PathBuf,
    identity: Option<Identity>,
    file: u16,
    bytes: Source,
    start: WalkState,
    info: FormatInfo,
    begins: Timestamp,
    /// What has been seen of its beginning, where more bytes would tell more.
    unseen: Option<Beginning>,
    error: OnceLock<io::Error>,
}

/// Where the bytes of a capture are.
enum Source {
    /// In a file, as they are.
    Regular(Regular),
    /// In the spool, as far as they have arrived.
    Stream(Stream),
}

/// A capture that can be read once, from its beginning to its end.
struct Stream {
    compression: Option<Compression>,
    /// Bytes of the file, where it is one.
    stored: Option<u64>,
    meter: Meter,
    spooled: Spooled,
    origin: Mutex<Option<Origin>>,
}

/// Where a stream comes from.
enum Origin {
    File(Identity),
    Pipe(Bytes),
}

impl Input {
    /// Looks at the capture at `path`, which becomes file number `file`.
    ///
    /// With `use_mmap` a file that is not compressed is mapped into memory; if it shrinks meanwhile,
    /// that ends the process. Without, it is read in blocks, and shrinking is an error like any
    /// other.
    pub fn open(path: &Path, file: u16, use_mmap: bool) -> Result<Input, CaptureError> {
        let mut input = Input::look(path, use_mmap, &Arc::default(), &Halt::default())?;
        input.file = file;
        Ok(input)
    }

    /// As [`Input::open`], but the number is still to be given.
    pub(super) fn look(
        path: &Path,
        use_mmap: bool,
        open: &Arc<OpenFiles>,
        halt: &Halt,
    ) -> Result<Input, CaptureError> {
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
        let identity = Identity::of(&metadata);
        let handle = open_same(path, identity).map_err(io_error("open it"))?;
        let len = handle.metadata().map_err(io_error("look at it"))?.len();
        if len >= 1 << InputPos::OFFSET_BITS {
            return Err(CaptureError::TooLarge {
                path: path.into(),
                bytes: len,
            });
        }
        let meter = Meter::default();
        let looked = match feed::open(handle, &meter, halt) {
            Ok((compression, mut reader)) => {
                look_at(path, compression, &mut reader, &meter, Keep::None)
                    .map(|head| (compression, head))
            }
            // Its first frames are skippable ones.
            Err(source) if meter.bytes() > 0 && !meter.has_failed() => {
                Err(CaptureError::compressed(path, Compression::Zstd, &source))
            }
            Err(source) => Err(io_error("read it")(source)),
        };
        // The beginning of a hostile file may be all of it.
        if halt.is_set() {
            return Err(CaptureError::Interrupted);
        }
        let (compression, head) = match looked {
            Ok(looked) if len > 0 => looked,
            // It has bytes all the same, or says so itself.
            Ok(_) | Err(CaptureError::Io { .. }) if len == 0 => {
                return Err(CaptureError::NoLength { path: path.into() });
            }
            looked => looked?,
        };
        let bytes = match compression {
            None => Source::Regular(Regular::new(
                path,
                identity,
                len,
                use_mmap,
                Arc::clone(open),
            )),
            Some(_) => Source::Stream(Stream {
                compression,
                stored: Some(len),
                meter: Meter::default(),
                spooled: Spooled::default(),
                origin: Mutex::new(Some(Origin::File(identity))),
            }),
        };
        Ok(Input::new(path, Some(identity), bytes, head))
    }

    /// Looks at what comes in on standard input, as soon as it does.
    pub(super) fn standard_input(path: &Path, halt: &Halt) -> Result<Input, CaptureError> {
        let meter = Meter::default();
        let opened = feed::open_standard_input(&meter, halt).map_err(|source| {
            if meter.bytes() > 0 && !meter.has_failed() {
                return CaptureError::compressed(path, Compression::Zstd, &source);
            }
            CaptureError::from_io(path.to_path_buf(), "read it", source)
        });
        let looked = opened.and_then(|(compression, mut reader)| {
            let mut head = look_at(path, compression, &mut reader, &meter, Keep::All)?;
            let begun = Cursor::new(std::mem::take(&mut head.bytes));
            let bytes = Source::Stream(Stream {
                compression,
                stored: None,
                meter: meter.clone(),
                spooled: Spooled::default(),
                origin: Mutex::new(Some(Origin::Pipe(Box::new(begun.chain(reader))))),
            });
            Ok(Input::new(path, feed::redirected_file(), bytes, head))
        });
        looked.map_err(|error| {
            if halt.is_set() {
                CaptureError::Interrupted
            } else {
                error
            }
        })
    }

    fn new(path: &Path, identity: Option<Identity>, bytes: Source, head: Head) -> Input {
        Input {
            path: path.into(),
            identity,
            file: 0,
            bytes,
            start: head.beginning.start.clone(),
            info: head.beginning.info(),
            begins: head.beginning.begins(),
            unseen: head.is_cut.then_some(head.beginning),
            error: OnceLock::new(),
        }
    }

    /// Looks on at the beginning of what comes in on standard input, which has a place to be kept by now,
    /// where what was held in memory did not tell when it begins.
    pub(super) fn look_on(&mut self, halt: &Halt) {
        let Some(mut beginning) = self.unseen.take() else {
            return;
        };
        if let Source::Stream(stream) = &self.bytes
            && let Some(Origin::Pipe(mut pipe)) = stream.take_origin()
        {
            match stream.look_on(&mut beginning, &mut pipe, halt) {
                Some(end) => stream.spooled.end(end),
                None => stream.give_origin(Origin::Pipe(pipe)),
            }
        }
        self.start = beginning.start.clone();
        self.info = beginning.info();
        self.begins = beginning.begins();
    }

    /// Gives it its number.
    pub(super) const fn set_file(&mut self, file: u16) {
        self.file = file;
    }

    /// The path it was opened by; `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file it is; `None` for a pipe.
    pub(super) const fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Its number.
    pub const fn file(&self) -> u16 {
        self.file
    }

    /// Its format.
    pub const fn format(&self) -> &FormatInfo {
        &self.info
    }

    /// How it is compressed, if it is.
    pub const fn compression(&self) -> Option<Compression> {
        match &self.bytes {
            Source::Regular(_) => None,
            Source::Stream(stream) => stream.compression,
        }
    }

    /// Bytes of the file when it was looked at; `None` for standard input.
    pub const fn file_len(&self) -> Option<u64> {
        match &self.bytes {
            Source::Regular(file) => Some(file.len()),
            Source::Stream(stream) => stream.stored,
        }
    }

    /// Bytes read of it so far; of a file that is not compressed, all of them.
    pub fn bytes_read(&self) -> u64 {
        match &self.bytes {
            Source::Regular(file) => file.len(),
            Source::Stream(stream) => stream.meter.bytes(),
        }
    }

    /// Bytes of the capture, without compression, as far as they have arrived.
    pub fn len(&self) -> u64 {
        match &self.bytes {
            Source::Regular(file) => file.len(),
            Source::Stream(stream) => stream.spooled.len(),
        }
    }

    /// Whether none has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the capture ends at `offset` or before.
    pub fn ends_by(&self, offset: u64) -> bool {
        match &self.bytes {
            Source::Regular(file) => offset >= file.len(),
            Source::Stream(stream) => stream.spooled.whole().is_some_and(|len| offset >= len),
        }
    }

    /// Whether its bytes come one after the other, decompressed or from a pipe, so that its file as it
    /// stands does not hold them.
    pub const fn is_stream(&self) -> bool {
        matches!(self.bytes, Source::Stream(_))
    }

    /// Whether the run was stopped before all of it arrived: then nothing more does.
    pub fn is_stopped(&self) -> bool {
        match &self.bytes {
            Source::Regular(_) => false,
            Source::Stream(stream) => matches!(stream.spooled.ended(), Some(End::Stopped)),
        }
    }

    /// What is wrong with its compression, where it could not be decompressed to its end.
    pub fn stream_damage(&self) -> Option<String> {
        match &self.bytes {
            Source::Regular(_) => None,
            Source::Stream(stream) => match stream.spooled.ended() {
                Some(End::Damaged(text)) => {
                    let name = stream.compression.map_or("", Compression::name);
                    Some(format!("the {name} stream {text}"))
                }
                _ => None,
            },
        }
    }

    /// The bytes of the file behind which the capture stands at `offset`, about.
    pub fn file_bytes_at(&self, offset: u64) -> u64 {
        let (Source::Stream(stream), len) = (&self.bytes, self.len()) else {
            return offset;
        };
        if stream.stored.is_none() || len == 0 {
            return offset;
        }
        let share = u128::from(stream.meter.bytes()) * u128::from(offset.min(len));
        u64::try_from(share / u128::from(len)).unwrap_or(u64::MAX)
    }

    /// The state in which a walk of the whole file begins.
    pub fn start(&self) -> WalkState {
        self.start.clone()
    }

    /// The time before which no frame of it has its place in the order of all captures' frames: that at
    /// which it begins, and the end of time where it has no time.
    pub fn begins(&self) -> Timestamp {
        match self.begins {
            Timestamp::NONE => Timestamp::from_ns(i64::MAX),
            known => known,
        }
    }

    /// The time before which no frame of it moves a clock; [`Timestamp::NONE`] where it has no time.
    pub const fn floor(&self) -> Timestamp {
        self.begins
    }

    /// The bytes of a range are hardly needed any more; whoever reads them nevertheless waits for them to be
    /// mapped once more.
    pub fn let_go(&self, range: Range<u64>) {
        if let Source::Regular(file) = &self.bytes {
            file.let_go(range);
        }
    }

    /// The bytes from offset `from` on: all of them with a memory map, otherwise `wanted`, or as
    /// many as there are.
    ///
    /// Where they still arrive it waits: until `least` have, and a little longer for `wanted`. There
    /// are fewer than `least` at the end, and where the run was stopped.
    pub fn window(&self, from: u64, least: u64, wanted: u64) -> io::Result<Window<'_>> {
        match &self.bytes {
            Source::Regular(file) => {
                let from = from.min(file.len());
                let data = file.window(from, wanted)?;
                let at_eof = from + data.len() as u64 == file.len();
                Ok(Window::new(data, from, self.file, at_eof))
            }
            Source::Stream(stream) => {
                let (data, at_eof) = stream.spooled.window(from, least, wanted)?;
                Ok(Window::new(Cow::Owned(data), from, self.file, at_eof))
            }
        }
    }

    /// The first error that reading payload met, if any. What was read then is short.
    pub fn read_error(&self) -> Option<&io::Error> {
        self.error.get()
    }

    /// Why its bytes could not be kept, where that is what a failed [`Input::window`] is about.
    pub fn spool_error(&self) -> Option<CaptureError> {
        let Source::Stream(stream) = &self.bytes else {
            return None;
        };
        match stream.spooled.ended() {
            Some(End::Unkept(_, reason)) => Some(CaptureError::Spool {
                path: self.path.clone(),
                directory: stream
                    .spooled
                    .spool()
                    .map_or_else(PathBuf::new, |spool| spool.directory().to_path_buf()),
                reason,
            }),
            _ => None,
        }
    }

    /// The stream that has to be fed, if it is one.
    pub(super) const fn spooled(&self) -> Option<&Spooled> {
        match &self.bytes {
            Source::Regular(_) => None,
            Source::Stream(stream) => Some(&stream.spooled),
        }
    }

    /// Whether it comes in on standard input.
    pub const fn is_live(&self) -> bool {
        self.file_len().is_none()
    }

    /// Reads the stream, if it is one, into the spool, to its end or until the run is over.
    pub(super) fn feed(&self, halt: &Halt) {
        let Source::Stream(stream) = &self.bytes else {
            return;
        };
        let _end = EndAnyway(&stream.spooled);
        let origin = stream.take_origin();
        let opened = match origin {
            Some(Origin::Pipe(pipe)) => Ok(pipe),
            Some(Origin::File(identity)) if !halt.is_set() => open_same(&self.path, identity)
                .and_then(|file: File| feed::open(file, &stream.meter, halt))
                .map(|(_, bytes)| bytes),
            _ => {
                stream.spooled.end(End::Stopped);
                return;
            }
        };
        stream.spooled.end(match opened {
            Ok(mut reader) => feed::feed(
                &mut reader,
                &stream.spooled,
                &stream.meter,
                halt,
                self.is_live(),
            ),
            Err(error) => End::Unreadable(error.kind(), error.to_string()),
        });
    }
}

impl Stream {
    /// Reads on into the spool until enough is known of the beginning; how the stream ended, if it did
    /// before.
    fn look_on(&self, beginning: &mut Beginning, pipe: &mut Bytes, halt: &Halt) -> Option<End> {
        let mut buffer = vec![0; feed::READ];
        let mut enough = 0;
        loop {
            let end = match pipe.read(&mut buffer) {
                Ok(0) => Some(End::Clean),
                Ok(got) => {
                    let kept = self.spooled.append(buffer.get(..got).unwrap_or_default());
                    kept.err()
                        .map(|error| End::Unkept(error.kind(), error.to_string()))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some(feed::ended_by(&error, &self.meter, halt)),
            };
            let (from, len) = (beginning.offset(), self.spooled.len());
            if end.is_none() && len < enough || len <= from {
                if end.is_some() {
                    return end;
                }
                continue;
            }
            let (data, _) = self
                .spooled
                .read(from, usize::try_from(len - from).unwrap_or(usize::MAX));
            let at_eof = matches!(end, Some(End::Clean));
            let is_told = beginning.look(&Window::new(Cow::Owned(data), from, 0, at_eof));
            if is_told || end.is_some() {
                return end;
            }
            enough = len + len.saturating_sub(beginning.offset()) / GROWN_BY;
        }
    }

    fn give_origin(&self, origin: Origin) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin);
    }

    fn take_origin(&self) -> Option<Origin> {
        self.origin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// What the beginning of the capture in `reader` tells.
fn look_at(
    path: &Path,
    compression: Option<Compression>,
    reader: &mut Bytes,
    meter: &Meter,
    keep: Keep,
) -> Result<Head, CaptureError> {
    head::read(path, reader, keep).map_err(|error| match (error, compression) {
        (NoHead::Capture(CaptureError::Empty { path }), Some(compression)) => {
            CaptureError::EmptyCompressed {
                path,
                compression: compression.name(),
            }
        }
        (NoHead::Capture(error), _) => error,
        (NoHead::Read(source), Some(compression)) if !meter.has_failed() => {
            CaptureError::compressed(path, compression, &source)
        }
        (NoHead::Read(source), _) => CaptureError::from_io(path.to_path_buf(), "read it", source),
    })
}

impl PayloadSource for Input {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        if at.file() != self.file {
            let text = format!("no file number {} is open here", at.file());
            let _ = self.error.set(io::Error::other(text));
            return Cow::Borrowed(&[]);
        }
        let len = super::bytes::index(len);
        let (data, error) = match &self.bytes {
            Source::Regular(file) => file.read(at.offset(), len),
            Source::Stream(stream) => {
                let (data, error) = stream.spooled.read(at.offset(), len);
                (Cow::Owned(data), error)
            }
        };
        if let Some(error) = error {
            // Only the first is kept; the others tell nothing new.
            let _ = self.error.set(error);
        }
        data
    }
}
