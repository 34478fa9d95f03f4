//! Files.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::capture::{CaptureError, Input};
use crate::model::{InputPos, LinkType, PayloadSource};

fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn failure(path: &Path) -> CaptureError {
    match Input::open(path, 7, true) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[test]
fn mapped_and_read_files_are_walked_alike() {
    for capture in samples() {
        let (_dir, path) = file_of(&capture);
        let whole = walk(&capture);
        for use_mmap in [true, false] {
            let input = Input::open(&path, 7, use_mmap).unwrap();
            assert_eq!((input.len(), input.path()), (capture.len() as u64, &*path));
            let all = input.window(0, 0, input.len()).unwrap();
            assert!(all.at_eof());
            let mut walker = Walker::new(&all, input.start(), u64::MAX);
            let frames: Vec<Seen> = walker.by_ref().map(Seen::of).collect();
            assert_eq!(
                (frames, walker.finish()),
                (whole.0.clone(), (whole.1.clone(), whole.2.clone()))
            );
            for frame in &whole.0 {
                let at = InputPos::new(7, frame.offset);
                let len = u32::try_from(frame.data.len()).unwrap();
                assert_eq!(&*input.read(at, len), frame.data);
            }
            assert!(input.read_error().is_none());
        }
    }
}

#[test]
fn windows_without_a_map_are_as_long_as_asked_for() {
    let frames: Vec<Frame> = (0..1000).map(|n| frame(n, 1000)).collect();
    let capture = PcapFile::new(MICROS, false).build(&frames);
    let (_dir, path) = file_of(&capture);
    let input = Input::open(&path, 7, false).unwrap();
    let part = input.window(500, 0, 1000).unwrap();
    assert_eq!((part.base(), part.at_eof(), part.file()), (500, false, 7));
    assert!(part.data().len() >= 1000 && part.data().len() < capture.len() - 500);
    assert!(capture[500..].starts_with(part.data()));
    let end = input.window(u64::MAX, 0, 10).unwrap();
    assert_eq!(
        (end.base(), end.data().len(), end.at_eof()),
        (capture.len() as u64, 0, true)
    );
}

#[test]
fn the_format_is_named() {
    let info = |bytes: &[u8]| {
        let (_dir, path) = file_of(bytes);
        Input::open(&path, 0, false).unwrap().format().clone()
    };
    let names: Vec<_> = samples().iter().map(|capture| info(capture).name).collect();
    assert_eq!(
        names,
        [
            "pcap-le-us",
            "pcap-le-ns",
            "pcap-le-modified",
            "pcap-be-us",
            "pcap-be-ns",
            "pcap-be-modified",
            "pcap-be-us",
            "pcap-be-us",
            "pcapng",
        ]
    );
    let pcap = info(&samples()[0]);
    assert_eq!((pcap.links, pcap.snaplen), (vec![LinkType(1)], 65535));
    let order = Order(true);
    let described = [
        section_header(order),
        interface(order, 1, 96, &[]),
        interface(order, 113, 256, &[]),
        interface(order, 1, 64, &[]),
    ];
    let pcapng = info(&described.concat());
    assert_eq!(
        (pcapng.links, pcapng.snaplen),
        (vec![LinkType(1), LinkType(113)], 256)
    );
}

#[test]
fn what_is_no_capture_file_is_refused_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let missing = failure(&dir.path().join("none"));
    assert!(matches!(missing, CaptureError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("none: no such file"));
    let directory = failure(dir.path());
    assert!(
        matches!(directory, CaptureError::Directory { .. }),
        "{directory}"
    );
    let device = failure(Path::new("/dev/null"));
    assert!(
        matches!(device, CaptureError::NotRegular { .. }),
        "{device}"
    );
    let (_dir, path) = file_of(b"");
    let empty = failure(&path);
    assert!(matches!(empty, CaptureError::Empty { .. }), "{empty}");
    assert!(empty.to_string().contains("empty (0 bytes)"));
    let (_dir, path) = file_of(b"\xa1\xb2\xc3\xd4\0\x02");
    let cut = failure(&path);
    assert!(matches!(cut, CaptureError::HeaderCut { .. }), "{cut}");
    let (_dir, path) = file_of(b"<html>404</html>");
    assert!(
        failure(&path)
            .to_string()
            .contains("3c 68 74 6d 6c 3e 34 30")
    );
}

#[test]
fn a_file_that_shrinks_is_an_error_and_not_an_end() {
    let capture = PcapFile::new(MICROS, false).build(&[frame(1, 600), frame(2, 600)]);
    let (_dir, path) = file_of(&capture);
    let input = Input::open(&path, 7, false).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(700).unwrap();
    assert!(input.window(0, 0, input.len()).is_err());
    assert!(input.read_error().is_none());
    assert_eq!(input.read(InputPos::new(7, 690), 100).len(), 10);
    let said = input.read_error().unwrap().to_string();
    assert!(said.contains("ends at byte 700"), "{said}");
}

#[test]
fn a_file_that_grows_is_walked_to_where_it_ended() {
    let capture = PcapFile::new(MICROS, false).build(&[frame(1, 60)]);
    let (_dir, path) = file_of(&capture);
    for use_mmap in [true, false] {
        let input = Input::open(&path, 7, use_mmap).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[0; 100]).unwrap();
        let all = input.window(0, 0, input.len()).unwrap();
        assert_eq!((all.data().len() as u64, all.at_eof()), (input.len(), true));
    }
}

#[test]
fn payload_of_other_files_and_beyond_the_end_is_short() {
    let capture = PcapFile::new(MICROS, false).build(&[frame(1, 60)]);
    let (_dir, path) = file_of(&capture);
    for use_mmap in [true, false] {
        for at in [InputPos::new(8, 40), InputPos::new(7, 1 << 40)] {
            let input = Input::open(&path, 7, use_mmap).unwrap();
            assert!(input.read(at, 10).is_empty());
            assert!(input.read_error().is_some());
        }
    }
}
