//! Streams on their way into the spool: compressed files, and standard input.

use std::fs::File;
use std::io::{self, BufRead, Cursor, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::compression::{self, Compression, Trouble};
use super::regular::Identity;
use super::spool::{End, Spooled};

/// Bytes written to the spool at a time.
pub(super) const READ: usize = 256 << 10;
/// Bytes read from standard input at a time.
const PIPE: usize = 64 << 10;
/// How many of those may wait for the spool.
const PIPED: usize = 16;
/// How often whoever waits for standard input looks whether the run is over.
const LOOK: Duration = Duration::from_millis(50);

/// Tells streams to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Halt {
    /// The user has interrupted the run.
    pub(super) interrupted: Arc<AtomicBool>,
    /// The run is over.
    pub(super) over: Arc<AtomicBool>,
}

impl Halt {
    /// Whether to stop.
    pub(super) fn is_set(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }
}

/// Counts what is read from a file or pipe, and remembers why it failed, which a decompressor's own
/// error would hide.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    bytes: Arc<AtomicU64>,
    failed: Arc<OnceLock<io::ErrorKind>>,
}

impl Meter {
    /// Bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Reading has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }
}

struct Metered<R> {
    reader: R,
    meter: Meter,
    halt: Halt,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Few bytes of a file may be hours of work for a decoder that gives nothing meanwhile.
        if self.halt.is_set() {
            return Err(interrupted());
        }
        match self.reader.read(buffer) {
            Ok(got) => {
                self.meter.bytes.fetch_add(got as u64, Ordering::Relaxed);
                Ok(got)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    let _ = self.meter.failed.set(error.kind());
                }
                Err(error)
            }
        }
    }
}

/// Bytes of a capture, one after another.
pub(super) type Bytes = Box<dyn Read + Send>;

/// Finds out how a file is compressed, if it is; gives what it holds, decompressed. Reading it ends
/// with an error when the run does.
pub(super) fn open(
    file: File,
    meter: &Meter,
    halt: &Halt,
) -> io::Result<(Option<Compression>, Bytes)> {
    compression::open(Metered {
        reader: file,
        meter: meter.clone(),
        halt: halt.clone(),
    })
}

/// The same of standard input, of which all that has arrived is taken before it ends.
pub(super) fn open_standard_input(
    meter: &Meter,
    halt: &Halt,
) -> io::Result<(Option<Compression>, Bytes)> {
    compression::open(Metered {
        reader: standard_input(halt)?,
        meter: meter.clone(),
        halt: Halt::default(),
    })
}

fn interrupted() -> io::Error {
    io::Error::other("the run was interrupted")
}

/// The file that standard input was redirected from; `None` where it is a pipe, or is closed.
pub(super) fn redirected_file() -> Option<Identity> {
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(input).metadata().ok()?;
    metadata.is_file().then(|| Identity::of(&metadata))
}

/// Standard input. It is read by a thread of its own that nobody waits for, since a read of a pipe
/// ends when the writer wants.
fn standard_input(halt: &Halt) -> io::Result<impl Read + Send + 'static> {
    let input = io::stdin();
    if input.is_terminal() {
        return Err(io::Error::other("it is a terminal and no pipe or file"));
    }
    let mut input = File::from(input.as_fd().try_clone_to_owned()?);
    let (sender, receiver) = sync_channel(PIPED);
    let stop = halt.clone();
    thread::Builder::new()
        .name("bulkreasm-stdin".to_owned())
        .spawn(move || pump(&mut input, &sender, &stop))?;
    Ok(Piped {
        receiver,
        halt: halt.clone(),
        now: Cursor::new(Vec::new()),
    })
}

fn pump(input: &mut File, sender: &SyncSender<io::Result<Vec<u8>>>, halt: &Halt) {
    while !halt.is_set() {
        let mut bytes = vec![0; PIPE];
        let read = match input.read(&mut bytes) {
            Ok(0) => return,
            Ok(got) => {
                bytes.truncate(got);
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if sender.send(read).is_err() || failed {
            return;
        }
    }
    // Whoever takes the bytes must not take the end of this thread for the end of the input.
    let _ = sender.send(Err(interrupted()));
}

/// The other end of [`pump`].
struct Piped {
    receiver: Receiver<io::Result<Vec<u8>>>,
    halt: Halt,
    now: Cursor<Vec<u8>>,
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.now.fill_buf()?.is_empty() {
            match self.receiver.recv_timeout(LOOK) {
                Ok(bytes) => self.now = Cursor::new(bytes?),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                // What has arrived before is still taken.
                Err(RecvTimeoutError::Timeout) if self.halt.is_set() => {
                    return Err(interrupted());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.now.read(buffer)
    }
}

/// Moves all of `reader` into `stream`. With `live` bytes are passed on as they come.
pub(super) fn feed(
    reader: &mut dyn Read,
    stream: &Spooled,
    meter: &Meter,
    halt: &Halt,
    live: bool,
) -> End {
    let mut buffer = vec![0; READ];
    let mut filled = 0;
    loop {
        // A pipe says itself when it has given what arrived before the interruption.
        if halt.is_set() && !live {
            return End::Stopped;
        }
        let read = reader.read(buffer.get_mut(filled..).unwrap_or_default());
        if matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            continue;
        }
        filled += *read.as_ref().unwrap_or(&0);
        let over = matches!(read, Ok(0) | Err(_));
        if over || live || filled == buffer.len() {
            if let Err(error) = stream.append(buffer.get(..filled).unwrap_or_default()) {
                return End::Unkept(error.kind(), error.to_string());
            }
            filled = 0;
        }
        match read {
            Ok(0) => return End::Clean,
            Ok(_) => {}
            Err(error) => return ended_by(&error, meter, halt),
        }
    }
}

/// How a stream ended that cannot be read on.
pub(super) fn ended_by(error: &io::Error, meter: &Meter, halt: &Halt) -> End {
    if halt.is_set() {
        End::Stopped
    } else if meter.has_failed() {
        End::Unreadable(error.kind(), error.to_string())
    } else {
        End::Damaged(Trouble::of(error).text)
    }
}

/// Ends a stream whatever becomes of the thread that feeds it, since others wait for that.
pub(super) struct EndAnyway<'a>(pub(super) &'a Spooled);

impl Drop for EndAnyway<'_> {
    fn drop(&mut self) {
        let text = "the thread that reads it ended; this is a bug, please report it";
        self.0
            .end(End::Unreadable(io::ErrorKind::Other, text.to_owned()));
    }
}

/// The name of standard input on the command line.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// Frames without content, of which a decoder may read millions before it gives a byte.
    #[test]
    fn a_decoder_that_gives_nothing_hears_that_the_run_is_over() {
        let mut file = tempfile::tempfile().unwrap();
        let empty = zstd::encode_all(&b""[..], 1).unwrap();
        file.write_all(&empty.repeat(100_000)).unwrap();
        file.rewind().unwrap();
        let (meter, halt) = (Meter::default(), Halt::default());
        let (compression, mut bytes) = open(file, &meter, &halt).unwrap();
        assert_eq!(compression, Some(Compression::Zstd));
        halt.interrupted.store(true, Ordering::Relaxed);
        let error = bytes.read(&mut [0; 100]).unwrap_err();
        assert_eq!(error.to_string(), "the run was interrupted");
        assert!(meter.bytes() < 100_000, "{}", meter.bytes());
        assert!(!meter.has_failed());
    }
}
