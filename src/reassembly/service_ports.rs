//! Ports that tell the server where no handshake was captured.

/// System ports that are assigned to a service over TCP (IANA, "Service Name and Transport Protocol Port Number
/// Registry", as of Wireshark 4.0), first and last of each range. Left out are 20, from which FTP
/// servers open connections to their clients (RFC 959, 3.2), and 1021 and 1022, which are for experiments (RFC
/// 4727, 6).
const SYSTEM: [(u16, u16); 61] = [
    (1, 3),
    (5, 5),
    (7, 7),
    (9, 9),
    (11, 11),
    (13, 13),
    (17, 19),
    (21, 23),
    (25, 25),
    (27, 27),
    (29, 29),
    (31, 31),
    (33, 33),
    (37, 39),
    (41, 46),
    (48, 50),
    (52, 56),
    (58, 58),
    (62, 74),
    (76, 76),
    (78, 80),
    (82, 86),
    (88, 99),
    (101, 113),
    (115, 224),
    (242, 248),
    (256, 257),
    (259, 269),
    (271, 271),
    (280, 284),
    (286, 287),
    (308, 324),
    (333, 333),
    (344, 358),
    (360, 584),
    (586, 658),
    (660, 702),
    (704, 707),
    (709, 715),
    (729, 731),
    (741, 742),
    (744, 744),
    (747, 754),
    (758, 765),
    (767, 767),
    (769, 777),
    (780, 780),
    (800, 802),
    (810, 810),
    (828, 833),
    (847, 848),
    (853, 854),
    (860, 862),
    (873, 873),
    (886, 888),
    (900, 903),
    (910, 913),
    (953, 953),
    (989, 993),
    (995, 1001),
    (1010, 1010),
];

/// Well-known ports above those: a choice of the registry's user ports that servers listen on, and 6660 to 6664,
/// 6666 to 6669 (IRC), 8081, 8888 (HTTP), 9092 (Kafka), 9200 (Elasticsearch) and 27017 (`MongoDB`), which are used so.
const WELL_KNOWN: [u16; 62] = [
    1080, 1194, 1433, 1494, 1521, 1723, 1883, 1935, 2049, 2181, 2375, 2376, 2404, 3128, 3260, 3268,
    3269, 3306, 3389, 3690, 4369, 5060, 5061, 5222, 5223, 5269, 5432, 5671, 5672, 5900, 5938, 5984,
    5985, 5986, 6379, 6443, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 6697, 8000,
    8008, 8080, 8081, 8088, 8443, 8883, 8888, 9042, 9092, 9200, 9418, 11211, 20000, 27017,
];

/// The system ports' bits, so that one look tells.
const SYSTEM_BITS: [u64; 16] = {
    let mut bits = [0; 16];
    let mut range = 0;
    while range < SYSTEM.len() {
        let (mut port, last) = SYSTEM[range];
        while port <= last {
            bits[(port / 64) as usize] |= 1 << (port % 64);
            port += 1;
        }
        range += 1;
    }
    bits
};

/// Whether a TCP port is one that servers are reached at.
pub(super) fn is_service(port: u16) -> bool {
    match SYSTEM_BITS.get(usize::from(port / 64)) {
        Some(bits) => bits >> (port % 64) & 1 != 0,
        None => WELL_KNOWN.binary_search(&port).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_ranges_apart() {
        assert!(SYSTEM.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        assert!(WELL_KNOWN.is_sorted_by(|a, b| a < b));
        assert!(WELL_KNOWN[0] >= 1024);
    }

    #[test]
    fn services_and_others() {
        for port in [21, 22, 25, 80, 110, 443, 445, 993, 1001, 3389, 8080, 27017] {
            assert!(is_service(port), "{port}");
        }
        for port in [
            0,
            4,
            20,
            24,
            81,
            600 + 59,
            950,
            1021,
            1023,
            1024,
            40_000,
            65_535,
        ] {
            assert!(!is_service(port), "{port}");
        }
    }
}
