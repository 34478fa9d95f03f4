//! What a file is that is no pcap or pcapng, as far as its first bytes tell, and what to do with it.

use super::bytes::{u16_at, u32_at};

const CONVERT: &str = "convert it first: editcap FILE OUT.pcapng";
const UNPACK: &str = "unpack it first, and name the captures in it";
const TEXT: &str = "name the capture itself and not what a program wrote about it";

/// First bytes, what they mean, what to do. The compressions that are undone are here, too, for what
/// is compressed twice.
const KNOWN: &[(&[u8], &str, &str)] = &[
    // Compressions.
    (
        b"\x1f\x8b",
        "compressed with gzip twice",
        "undo one of the two: gzip -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed twice, inside with zstd",
        "undo the outer one, and send the rest to bulkreasm -",
    ),
    (
        b"\xfd7zXZ\0",
        "compressed twice, inside with xz",
        "undo the outer one, and send the rest to bulkreasm -",
    ),
    (
        b"\x04\x22\x4d\x18",
        "compressed twice, inside with lz4",
        "undo the outer one, and send the rest to bulkreasm -",
    ),
    (
        b"\x02\x21\x4c\x18",
        "compressed in the legacy format of lz4 (lz4 -l)",
        "decompress it with another program: lz4 -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"BZh",
        "compressed with bzip2",
        "decompress it with another program: bzip2 -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"LZIP",
        "compressed with lzip",
        "decompress it with another program: lzip -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"\x89LZO\0\r\n\x1a\n",
        "compressed with lzop",
        "decompress it with another program: lzop -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"\x1f\x9d",
        "compressed with compress (.Z)",
        "decompress it with another program: gzip -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"\xff\x06\0\0sNaPpY",
        "compressed with snappy",
        "decompress it with another program: snzip -dc FILE | bulkreasm - --out DIR",
    ),
    (
        b"\x37\xa4\x30\xec",
        "a dictionary of zstd",
        "name the capture that was compressed with it",
    ),
    // Archives.
    (
        b"PK\x03\x04",
        "a zip archive",
        "unpack it first: unzip -p FILE | bulkreasm - --out DIR",
    ),
    (
        b"PK\x05\x06",
        "an empty zip archive",
        "check that it is the file you meant",
    ),
    (b"PK\x07\x08", "a zip archive in several files", UNPACK),
    (
        b"7z\xbc\xaf\x27\x1c",
        "a 7-Zip archive",
        "unpack it first: 7z x -so FILE | bulkreasm - --out DIR",
    ),
    (
        b"Rar!\x1a\x07",
        "a RAR archive",
        "unpack it first: unrar p -inul FILE | bulkreasm - --out DIR",
    ),
    (b"MSCF", "a Windows cabinet", UNPACK),
    (b"!<arch>\n", "an ar archive", UNPACK),
    (b"07070", "a cpio archive", UNPACK),
    (b"hsqs", "a squashfs image", UNPACK),
    // Pointers to a capture that is kept elsewhere.
    (
        b"version https://git-lfs.github.com/spec/",
        "a pointer of Git LFS, and not the capture",
        "fetch it: git lfs pull",
    ),
    (
        b"/annex/objects/",
        "a pointer of git-annex, and not the capture",
        "fetch it: git annex get FILE",
    ),
    // Captures.
    (b"snoop\0\0\0", "a snoop capture (RFC 1761)", CONVERT),
    (
        b"btsnoop\0",
        "a Bluetooth btsnoop capture",
        "there is no TCP in it",
    ),
    (b"GMBU", "a Microsoft Network Monitor 2 capture", CONVERT),
    (b"RTSS", "a Microsoft Network Monitor 1 capture", CONVERT),
    (b"XCP\0", "a NetXRay or Sniffer capture", CONVERT),
    (b"TRSNIFF data    \x1a", "a Sniffer capture", CONVERT),
    (b"iptrace ", "an AIX iptrace capture", CONVERT),
    (
        b"\x7fver",
        "an EtherPeek, AiroPeek or OmniPeek capture",
        CONVERT,
    ),
    (b"\x05VNF", "a Visual Networks capture", CONVERT),
    (b"\xaa\xaa\xaa\xaa", "a 5View capture", CONVERT),
    (b"\x54\x52\x00\x64\x00", "an HP-UX nettl trace", CONVERT),
    (
        b"ElfFile\0",
        "a Windows event log (EVTX), and no capture",
        "name the trace that the capture was written to (ETL), converted with etl2pcapng",
    ),
    // Variants of pcap whose record headers differ and are not documented.
    (
        b"\xa1\xb2\x34\xcd",
        "an undocumented variant of pcap",
        CONVERT,
    ),
    (
        b"\xcd\x34\xb2\xa1",
        "an undocumented variant of pcap",
        CONVERT,
    ),
    (
        b"\xa1\x2b\x3c\x4d",
        "an undocumented variant of pcap",
        CONVERT,
    ),
    (
        b"\x4d\x3c\x2b\xa1",
        "an undocumented variant of pcap",
        CONVERT,
    ),
    (b"\x1c\x00\x01\xac", "an Ixia variant of pcap", CONVERT),
    (b"\xac\x01\x00\x1c", "an Ixia variant of pcap", CONVERT),
    // What lies beside captures.
    (b"%PDF-", "a PDF document", TEXT),
    (
        b"PAR1",
        "a Parquet table",
        "name the capture that it was made from",
    ),
    (b"SQLite format 3\0", "an SQLite database", TEXT),
    (
        b"\x7fELF",
        "a program",
        "check that it is the file you meant",
    ),
    (
        b"MZ",
        "a Windows program",
        "check that it is the file you meant",
    ),
    (b"\x89PNG", "a picture", TEXT),
    (b"\xff\xd8\xff", "a picture", TEXT),
    (b"GIF8", "a picture", TEXT),
    (
        b"Salted__",
        "encrypted with openssl",
        "decrypt it first, and send it to bulkreasm -",
    ),
    (
        b"age-encryption.org/",
        "encrypted with age",
        "decrypt it first: age -d -i KEY FILE | bulkreasm - --out DIR",
    ),
    (
        b"-----BEGIN PGP MESSAGE",
        "encrypted with PGP",
        "decrypt it first: gpg -d FILE | bulkreasm - --out DIR",
    ),
    (
        b"\xff\xfe",
        "a text in UTF-16, as PowerShell's > writes even of other bytes",
        "capture into a file that the capture program opens itself (-w FILE)",
    ),
];

/// What `head`, the first bytes of a file, says that the file is, and what to do with it.
pub(super) fn identify(head: &[u8]) -> (&'static str, &'static str) {
    let known = KNOWN
        .iter()
        .find(|(magic, _, _)| head.starts_with(magic))
        .map(|&(_, what, advice)| (what, advice));
    known
        .or_else(|| by_structure(head))
        .or_else(|| by_text(head))
        .unwrap_or((
            "not a pcap or pcapng file",
            "check that it is the capture you meant; editcap converts those of other programs",
        ))
}

/// Formats whose first bytes are no mark.
fn by_structure(head: &[u8]) -> Option<(&'static str, &'static str)> {
    /// Where a tar header has its magic (POSIX.1, ustar).
    const TAR_MAGIC: usize = 257;
    let at = |at: usize| head.get(at..).unwrap_or_default();
    if head.len() >= 16 && head.iter().all(|&byte| byte == 0) {
        return Some((
            "nothing but zeros, as where space was reserved and nothing written",
            "fetch the file again, or capture again",
        ));
    }
    if at(TAR_MAGIC).starts_with(b"ustar") {
        return Some((
            "a tar archive",
            "unpack it first: tar -xOf FILE | bulkreasm - --out DIR, or tar -xf FILE and name the captures",
        ));
    }
    if is_lzma(head) {
        return Some((
            "compressed in the older lzma format (xz --format=lzma)",
            "decompress it with another program: xz -dc --format=lzma FILE | bulkreasm - --out DIR",
        ));
    }
    if is_event_trace(head) {
        return Some((
            "a Windows event trace (ETL), as netsh and pktmon write",
            "convert it first: etl2pcapng FILE OUT.pcapng, or pktmon etl2pcap FILE",
        ));
    }
    is_erf(head).then_some(("an Endace ERF capture", CONVERT))
}

/// The header of the `LZMA_Alone` format: properties of literals and positions (lc, lp, pb), the size of the
/// dictionary, which is a power of two or half as much again, and the size of the data, or all ones.
fn is_lzma(head: &[u8]) -> bool {
    let (Some(properties), Some(dictionary)) = (head.first(), u32_at(head, 1, false)) else {
        return false;
    };
    let size = u32_at(head, 5, false).zip(u32_at(head, 9, false));
    let size_fits = matches!(size, Some((u32::MAX, u32::MAX) | (_, 0..=0xff)));
    let size_of_dictionary_fits = dictionary >= 4096
        && (dictionary.is_power_of_two()
            || dictionary.is_multiple_of(3) && (dictionary / 3).is_power_of_two());
    *properties == 0x5d && size_of_dictionary_fits && size_fits
}

/// An ETL file begins with a `WMI_BUFFER_HEADER` of 72 bytes; the first event behind it has a
/// `SYSTEM_TRACE_HEADER`: version 1 or 2, the header type for 32 or 64 bits, and the flags 0xc0.
fn is_event_trace(head: &[u8]) -> bool {
    const BUFFER_HEADER: usize = 72;
    matches!(
        head.get(BUFFER_HEADER..).unwrap_or_default(),
        [1 | 2, 0, 1 | 2, 0xc0, ..]
    )
}

/// A record header of the Extensible Record Format has no mark: a time whose upper half is seconds,
/// a type, flags, the length of the record, a count of losses, and that of the packet. Two in a row are
/// taken for it, or one that is all of the file.
fn is_erf(head: &[u8]) -> bool {
    /// The year 2000, and what 32 bits hold.
    const SECONDS: std::ops::RangeInclusive<u32> = 946_684_800..=u32::MAX;
    /// Types that are in use; the uppermost bit says that extension headers follow.
    const TYPES: std::ops::RangeInclusive<u8> = 1..=48;
    let record = |at: usize| {
        let seconds = u32_at(head, at + 4, false)?;
        let kind = *head.get(at + 8)? & 0x7f;
        let length = usize::from(u16_at(head, at + 10, true)?);
        let fits = SECONDS.contains(&seconds) && TYPES.contains(&kind) && length >= 16;
        fits.then_some(at + length)
    };
    match record(0) {
        Some(next) if next == head.len() => true,
        Some(next) if next < head.len() => record(next).is_some(),
        _ => false,
    }
}

/// Texts, by how they begin.
fn by_text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // The last letter may be cut.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |letter: char| !letter.is_control() || letter.is_whitespace() || letter == '\x1b';
    if text.len() < 4 || !text.chars().all(is_text) {
        return None;
    }
    let begin = text.trim_start();
    let begins = |with: &str| {
        begin
            .get(..with.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    let is_line = |with: &str| text.lines().any(|line| line.starts_with(with));
    Some(if begins("<!doctype html") || begins("<html") {
        (
            "an HTML page, as a server sends in place of a file",
            "fetch the capture again; a browser may have to log in first",
        )
    } else if begins("<?xml") || begins("<!--") || begins("<pdml") || begins("<psml") {
        ("an XML text, such as PDML", TEXT)
    } else if is_line("outs:") && text.contains("md5:") {
        (
            "a pointer of DVC, and not the capture",
            "fetch it: dvc pull FILE",
        )
    } else if begins("{") || begins("[") {
        ("a JSON text, such as an EVE log", TEXT)
    } else {
        ("a text, and not a pcap or pcapng file", TEXT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(bytes: &[u8]) -> Vec<u8> {
        let mut head = bytes.to_vec();
        head.resize(head.len().max(600), 0x81);
        head
    }

    fn at(offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut head = vec![0x81; 600];
        head[offset..offset + bytes.len()].copy_from_slice(bytes);
        head
    }

    #[test]
    fn each_kind_has_its_sentence() {
        let mut erf = Vec::new();
        for n in 0..9u8 {
            erf.extend([n, 0, 0, 0]);
            erf.extend(1_700_000_000u32.to_le_bytes());
            erf.extend([2, 4, 0, 64, 0, 0, 0, 60]);
            erf.resize((usize::from(n) + 1) * 64, 0x80);
        }
        let lzma = |dictionary: u32, size: u64| {
            [
                &[0x5d][..],
                &dictionary.to_le_bytes(),
                &size.to_le_bytes(),
                &[0, 1],
            ]
            .concat()
        };
        for (head, what, advice) in [
            (b"\x02\x21\x4c\x18".to_vec(), "lz4", "lz4 -dc"),
            (padded(b"BZh91AY"), "bzip2", "bzip2 -dc"),
            (padded(b"PK\x03\x04"), "zip", "unzip -p"),
            (padded(b"7z\xbc\xaf\x27\x1c"), "7-Zip", "7z x"),
            (padded(b"Rar!\x1a\x07\x01"), "RAR", "unrar"),
            (at(257, b"ustar\x0000"), "tar", "tar -x"),
            (at(257, b"ustar  \0"), "tar", "tar -x"),
            (
                padded(&lzma(8 << 20, u64::MAX)),
                "lzma",
                "xz -dc --format=lzma",
            ),
            (padded(&lzma(3 << 20, 1000)), "lzma", "xz -dc --format=lzma"),
            (padded(b"GMBU\0\x02"), "Network Monitor", "editcap"),
            (padded(b"snoop\0\0\0\0\0\0\x02"), "snoop", "editcap"),
            (at(72, &[2, 0, 2, 0xc0]), "ETL", "etl2pcapng"),
            (at(72, &[2, 0, 1, 0xc0]), "ETL", "etl2pcapng"),
            (padded(b"ElfFile\0"), "EVTX", "etl2pcapng"),
            (erf.clone(), "ERF", "editcap"),
            (erf[..64].to_vec(), "ERF", "editcap"),
            (vec![0; 100], "zeros", "again"),
            (b"%PDF-1.7\n".to_vec(), "PDF", "capture itself"),
            (b"  <!DOCTYPE HTML>\n<title>404".to_vec(), "HTML", "again"),
            (
                b"<?xml version=\"1.0\"?><pdml>".to_vec(),
                "XML",
                "capture itself",
            ),
            (b"\xef\xbb\xbf{\"a\": 1}".to_vec(), "JSON", "capture itself"),
            (b"[\n {}]".to_vec(), "JSON", "capture itself"),
            (
                "größe\tx\r\n12:00 IP a > b".as_bytes().to_vec(),
                "a text",
                "capture itself",
            ),
            ("größ".as_bytes()[..5].to_vec(), "a text", "capture itself"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(),
                "Git LFS",
                "git lfs pull",
            ),
            (
                b"outs:\n- md5: 0\n  path: a.pcap\n".to_vec(),
                "DVC",
                "dvc pull",
            ),
            (
                b"md5: 1\nouts:\n- md5: 0\n  path: a.pcap\n".to_vec(),
                "DVC",
                "dvc pull",
            ),
            (
                b"/annex/objects/SHA256E-s1--0.pcap\n".to_vec(),
                "git-annex",
                "git annex get",
            ),
            (vec![0x81; 600], "not a pcap", "editcap"),
            (b"\x01\x02\x03".to_vec(), "not a pcap", "editcap"),
        ] {
            let (told, to_do) = identify(&head);
            assert!(told.contains(what), "{what}: {told}");
            assert!(to_do.contains(advice), "{what}: {to_do}");
        }
    }
}
