//! A capture file per flow: the frames that carried its segments, as they were captured.
//!
//! Frames are queued by reference while a batch is reassembled and copied at its end, each file's
//! together. A file is a pcap one as long as a single interface and 32 bits of seconds will do; at the
//! first frame that does not fit it is written anew as pcapng.
//!
//! A frame that carries segments of very many flows is copied for the first of them only, so that what is
//! written stays in proportion to what was read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, IoSlice, Read, Seek, SeekFrom};
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::fs::OFlags;

use crate::config::FRAME_COPIES;
use crate::model::{FrameRef, InputPos, Payload, PayloadSource};

use super::capture_format::{
    Interface, PCAP_HEADER, PCAP_RECORD, fits_pcap, push_interface, push_packet, push_pcap_header,
    push_pcap_record, push_section, read_pcap_record,
};
use super::descriptors::DescriptorBudget;
use super::directory::OutputDir;
use super::error::OutputError;
use super::file_cache::{FileCache, FileTotals, Opened};
use super::payload::read_all;
use super::payload_files::write_all_at;
use super::stream_path::{CaptureForm, capture_path};

/// Bytes that are gathered for one write.
const GATHERED: usize = 256 << 10;

/// A capture under way.
#[derive(Debug)]
struct Capture {
    form: CaptureForm,
    /// Those of its frames so far, in the order of their first.
    interfaces: Vec<Interface>,
    /// Bytes written.
    size: u64,
    recent: Recent,
}

/// The frames written last. One that holds several segments or fragments is told as often, and while
/// datagrams overlap, in turns with others.
#[derive(Debug, Default)]
struct Recent {
    frames: VecDeque<InputPos>,
    furthest: Option<InputPos>,
}

impl Recent {
    /// So many fragments of a flow hardly ever lie between those of one datagram. A choice; a frame that
    /// came back later would stand twice.
    const FRAMES: usize = 64;

    /// Whether a frame is one of them.
    fn has(&self, frame: InputPos) -> bool {
        Some(frame) <= self.furthest && self.frames.contains(&frame)
    }

    /// Whether a frame is not one of them; it is one from now on.
    fn is_new(&mut self, frame: InputPos) -> bool {
        if self.has(frame) {
            return false;
        }
        if self.frames.len() == Recent::FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
        self.furthest = self.furthest.max(Some(frame));
        true
    }
}

impl Capture {
    fn new(form: CaptureForm) -> Capture {
        Capture {
            form,
            interfaces: Vec::new(),
            size: 0,
            recent: Recent::default(),
        }
    }

    /// Whether its form can hold the frame.
    fn takes(&self, frame: &FrameRef) -> bool {
        let same = |&own: &Interface| own == Interface::of(frame);
        self.form == CaptureForm::Pcapng
            || fits_pcap(frame) && self.interfaces.first().is_none_or(same)
    }

    /// Appends a frame to what is to be written, and in front of it whatever has to be.
    fn push(&mut self, frame: &FrameRef, bytes: &[u8], out: &mut Vec<u8>) {
        let interface = Interface::of(frame);
        let is_new = self.interfaces.is_empty();
        let known = self.interfaces.iter().position(|own| *own == interface);
        let number = known.unwrap_or(self.interfaces.len());
        if known.is_none() {
            self.interfaces.push(interface);
        }
        match self.form {
            CaptureForm::Pcap => {
                if is_new {
                    push_pcap_header(out, interface);
                }
                push_pcap_record(out, interface, frame, bytes);
            }
            CaptureForm::Pcapng => {
                if is_new {
                    push_section(out);
                }
                if known.is_none() {
                    push_interface(out, interface);
                }
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                push_packet(out, (number, interface), frame, bytes);
            }
        }
    }
}

/// Writes the captures of one shard's flows. One task uses it at a time.
#[derive(Debug)]
pub struct FlowCaptureWriter {
    files: FileCache<(u64, CaptureForm)>,
    queue: Vec<(u64, FrameRef)>,
    ended: Vec<u64>,
    captures: HashMap<u64, Capture>,
    /// What is to be written next.
    gathered: Vec<u8>,
    totals: FileTotals,
}

impl FlowCaptureWriter {
    /// A writer below `dir` that keeps files open as far as `budget` allows.
    pub fn new(dir: Arc<OutputDir>, budget: Arc<DescriptorBudget>) -> FlowCaptureWriter {
        FlowCaptureWriter {
            files: FileCache::new(dir, budget),
            queue: Vec::new(),
            ended: Vec::new(),
            captures: HashMap::new(),
            gathered: Vec::new(),
            totals: FileTotals::default(),
        }
    }

    /// Queues frames; they reach their file with the next [`FlowCaptureWriter::flush`].
    pub fn frames(&mut self, flow_id: u64, frames: &[FrameRef]) {
        self.queue
            .extend(frames.iter().map(|&frame| (flow_id, frame)));
    }

    /// Nothing more follows for this flow: its file is closed after the next flush.
    pub fn flow_ended(&mut self, flow_id: u64) {
        self.ended.push(flow_id);
    }

    /// What this writer wrote.
    pub fn totals(&self) -> FileTotals {
        self.totals
    }

    /// Writes all that is queued. Fails where the file system refuses, or where `source` no longer
    /// gives the bytes; what was queued is lost then.
    pub fn flush(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        self.files.next_round();
        let mut queue = std::mem::take(&mut self.queue);
        // A stable sort: frames of a flow stay in the order in which it took them.
        queue.sort_by_key(|(flow_id, _)| *flow_id);
        for frames in queue.chunk_by(|a, b| a.0 == b.0) {
            self.append(frames, source)?;
        }
        queue.clear();
        self.queue = queue;
        for flow_id in self.ended.drain(..) {
            if let Some(capture) = self.captures.remove(&flow_id) {
                self.files.forget([(flow_id, capture.form)]);
            }
        }
        Ok(())
    }

    /// Appends frames, all of one flow.
    fn append(
        &mut self,
        frames: &[(u64, FrameRef)],
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        let copied = |(_, frame): &&(u64, FrameRef)| frame.place < FRAME_COPIES;
        let Some(&(flow_id, first)) = frames.iter().find(copied) else {
            self.leave_out(frames);
            return Ok(());
        };
        let mut capture = self.captures.remove(&flow_id).unwrap_or_else(|| {
            self.totals.files += 1;
            Capture::new(if fits_pcap(&first) {
                CaptureForm::Pcap
            } else {
                CaptureForm::Pcapng
            })
        });
        let mut opened = self.open(flow_id, capture.form)?;
        for (_, frame) in frames {
            if frame.place >= FRAME_COPIES {
                self.totals.left_out += u64::from(!capture.recent.has(frame.at));
                continue;
            }
            if !capture.recent.is_new(frame.at) {
                continue;
            }
            if !capture.takes(frame) {
                self.write(flow_id, &mut capture, &opened)?;
                opened = self.convert(flow_id, &mut capture, opened)?;
            }
            let payload = Payload::Input {
                at: frame.at,
                len: frame.len,
            };
            capture.push(frame, &read_all(&payload, source)?, &mut self.gathered);
            if self.gathered.len() >= GATHERED {
                self.write(flow_id, &mut capture, &opened)?;
            }
        }
        self.write(flow_id, &mut capture, &opened)?;
        self.files.keep((flow_id, capture.form), opened);
        self.captures.insert(flow_id, capture);
        Ok(())
    }

    /// Counts frames of a flow none of which is copied for it.
    fn leave_out(&mut self, frames: &[(u64, FrameRef)]) {
        for (flow_id, frame) in frames {
            let capture = self.captures.get(flow_id);
            let has_it = capture.is_some_and(|capture| capture.recent.has(frame.at));
            self.totals.left_out += u64::from(!has_it);
        }
    }

    fn open(&mut self, flow_id: u64, form: CaptureForm) -> Result<Opened, OutputError> {
        let path = || capture_path(flow_id, form);
        self.files.open((flow_id, form), path, OFlags::RDWR)
    }

    /// Writes what is gathered to the end of a file.
    fn write(
        &mut self,
        flow_id: u64,
        capture: &mut Capture,
        opened: &Opened,
    ) -> Result<(), OutputError> {
        let mut slices = [IoSlice::new(&self.gathered)];
        let written = write_all_at(&mut slices, capture.size, |slices, at| {
            rustix::io::pwritev(&opened.file, slices, at)
        })
        .map_err(|error| self.failed("write", flow_id, capture.form, error))?;
        self.gathered.clear();
        capture.size += written;
        self.totals.bytes += written;
        Ok(())
    }

    /// Writes a pcap file anew as pcapng.
    fn convert(
        &mut self,
        flow_id: u64,
        capture: &mut Capture,
        old: Opened,
    ) -> Result<Opened, OutputError> {
        let form = capture.form;
        let Some(&interface) = capture.interfaces.first() else {
            return Ok(old);
        };
        let new = self.open(flow_id, CaptureForm::Pcapng)?;
        let mut anew = Capture::new(CaptureForm::Pcapng);
        let mut reader = BufReader::with_capacity(GATHERED, File::from(old.file));
        let mut at = PCAP_HEADER as u64;
        let mut bytes = Vec::new();
        reader
            .seek(SeekFrom::Start(at))
            .map_err(|error| self.failed("read back", flow_id, form, error))?;
        while at < capture.size {
            let mut header = [0; PCAP_RECORD];
            let frame = reader.read_exact(&mut header).and_then(|()| {
                let frame = read_pcap_record(&header, interface);
                bytes.resize(frame.len as usize, 0);
                reader.read_exact(&mut bytes)?;
                Ok(frame)
            });
            let frame = frame.map_err(|error| self.failed("read back", flow_id, form, error))?;
            at += (PCAP_RECORD + bytes.len()) as u64;
            anew.push(&frame, &bytes, &mut self.gathered);
            if self.gathered.len() >= GATHERED {
                self.write(flow_id, &mut anew, &new)?;
            }
        }
        self.files.dir().remove_file(&capture_path(flow_id, form))?;
        self.files.forget([(flow_id, form)]);
        self.totals.bytes -= capture.size;
        anew.recent = std::mem::take(&mut capture.recent);
        *capture = anew;
        Ok(new)
    }

    fn failed(
        &self,
        action: &'static str,
        flow_id: u64,
        form: CaptureForm,
        error: impl Into<io::Error>,
    ) -> OutputError {
        let path = self.files.dir().path().join(capture_path(flow_id, form));
        OutputError::io(action, &path, error)
    }
}
