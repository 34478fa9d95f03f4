//! Numbers, addresses and times as text, without an allocation each.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Appends an address as RFC 5952 text.
pub(super) fn push_ip(out: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push('.');
                }
                push_unsigned(out, u64::from(octet));
            }
        }
        // The standard library's text is RFC 5952's, mapped addresses in mixed notation included.
        IpAddr::V6(ip) => {
            let _ = write!(out, "{ip}");
        }
    }
}

/// Appends a number in decimal.
pub(super) fn push_unsigned(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends a number in decimal.
pub(super) fn push_signed(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Appends bytes as hexadecimal digits in lower case.
pub(super) fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Microseconds since the Unix epoch of a time in nanoseconds: the one at or before it.
pub const fn floor_micros(ns: i64) -> i64 {
    ns.div_euclid(1_000)
}

/// Appends a time in microseconds since the Unix epoch as RFC 3339 text in UTC with six decimals,
/// such as `2006-09-29T12:34:56.123456Z`.
pub(super) fn push_rfc3339(out: &mut String, micros: i64) {
    const MICROS_PER_SECOND: i64 = 1_000_000;
    const SECONDS_PER_DAY: i64 = 86_400;
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    );
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
    );
}

/// A time in nanoseconds since the Unix epoch as RFC 3339 text in UTC with six decimals.
pub fn rfc3339(ns: i64) -> String {
    let mut out = String::new();
    push_rfc3339(&mut out, floor_micros(ns));
    out
}

/// Year, month (from 1) and day (from 1) in the proleptic Gregorian calendar, of a day counted
/// from 1970-01-01.
///
/// The calendar repeats every 400 years, which have 146,097 days. With years that begin in March
/// the leap day comes last, so months have fixed starts: the five months from March have 153 days.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let since_march = days + 719_468;
    let era = since_march.div_euclid(DAYS_PER_ERA);
    let day_of_era = since_march.rem_euclid(DAYS_PER_ERA);
    // Take out the leap days before this day: one in 4 years, none in 100, one in 400.
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(micros: i64) -> String {
        let mut out = String::new();
        push_rfc3339(&mut out, micros);
        out
    }

    /// The calendar as schoolchildren learn it, day by day.
    fn next_day((year, month, day): (i64, i64, i64)) -> (i64, i64, i64) {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if day < length {
            (year, month, day + 1)
        } else if month < 12 {
            (year, month + 1, 1)
        } else {
            (year + 1, 1, 1)
        }
    }

    #[test]
    fn agrees_with_counting_days() {
        let first = -719_528; // 0000-01-01
        let mut date = (0, 1, 1);
        for days in first..first + 366 * 2400 {
            assert_eq!(civil_from_days(days), date, "day {days}");
            date = next_day(date);
        }
    }

    #[test]
    fn times_read_as_written() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(
            rfc3339(1_159_533_296_123_456),
            "2006-09-29T12:34:56.123456Z"
        );
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(
            rfc3339(4_107_542_400_000_000),
            "2100-03-01T00:00:00.000000Z"
        );
        // The ends of what nanoseconds in 64 bits can say.
        assert_eq!(
            rfc3339(floor_micros(i64::MAX)),
            "2262-04-11T23:47:16.854775Z"
        );
        assert_eq!(
            rfc3339(floor_micros(i64::MIN)),
            "1677-09-21T00:12:43.145224Z"
        );
    }

    #[test]
    fn microseconds_are_floored() {
        assert_eq!(floor_micros(1_999), 1);
        assert_eq!(floor_micros(-1), -1);
        assert_eq!(floor_micros(-1_000), -1);
        assert_eq!(floor_micros(-1_001), -2);
    }

    #[test]
    fn numbers_and_addresses() {
        let mut out = String::new();
        push_hex(&mut out, &[0, 0x0a, 0xff]);
        assert_eq!(out, "000aff");
        out.clear();
        for value in [0, 9, 10, 1234, i64::MAX, -7, i64::MIN] {
            push_signed(&mut out, value);
            out.push(' ');
        }
        assert_eq!(out, format!("0 9 10 1234 {} -7 {} ", i64::MAX, i64::MIN));
        for ip in [
            "0.0.0.0",
            "255.10.1.99",
            "::",
            "2001:db8::1",
            "::ffff:1.2.3.4",
            "1:0:2::3",
        ] {
            let mut out = String::new();
            push_ip(&mut out, ip.parse().unwrap());
            assert_eq!(out, ip);
        }
    }
}
