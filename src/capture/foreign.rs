//! What a file is that is no pcap or pcapng, as far as its first bytes tell.

const DECOMPRESS: &str = "decompress it first";
const CONVERT: &str = "convert it to pcap or pcapng first, for instance with editcap";

/// First bytes, what they mean, what to do. The compressions that are undone are here, too, for what
/// is compressed twice.
const KNOWN: [(&[u8], &str, &str); 19] = [
    (b"\x1f\x8b", "compressed with gzip", DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", DECOMPRESS),
    (b"\xfd7zXZ\0", "compressed with xz", DECOMPRESS),
    (b"\x04\x22\x4d\x18", "compressed with lz4", DECOMPRESS),
    (b"BZh", "compressed with bzip2", DECOMPRESS),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"snoop\0\0\0", "a snoop capture (RFC 1761)", CONVERT),
    (b"btsnoop\0", "a Bluetooth btsnoop capture", CONVERT),
    (b"GMBU", "a Microsoft Network Monitor 2 capture", CONVERT),
    (b"RTSS", "a Microsoft Network Monitor 1 capture", CONVERT),
    (b"XCP\0", "a NetXRay or Sniffer capture", CONVERT),
    (b"TRSNIFF data    \x1a", "a Sniffer capture", CONVERT),
    (b"iptrace ", "an AIX iptrace capture", CONVERT),
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
];

/// What `head`, the first bytes of a file, says that the file is, and what to do with it.
pub(super) fn identify(head: &[u8]) -> (&'static str, &'static str) {
    KNOWN
        .iter()
        .find(|(magic, _, _)| head.starts_with(magic))
        .map_or(
            (
                "not a pcap or pcapng file",
                "check that it is the capture you meant",
            ),
            |&(_, what, advice)| (what, advice),
        )
}
