//! The order in which people number files: `cap2` before `cap10`.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Compares two paths, component by component; digits that follow each other count as one number.
/// Only equal paths are equal.
pub(super) fn compare(a: &Path, b: &Path) -> Ordering {
    let pairs = a.components().zip(b.components());
    pairs
        .map(|(a, b)| names(a.as_os_str().as_bytes(), b.as_os_str().as_bytes()))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
        .then_with(|| a.cmp(b))
}

fn names(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (left, right) = (digits(a), digits(b));
        if !left.is_empty() && !right.is_empty() {
            let (left_value, right_value) = (value(left), value(right));
            let order = left_value.len().cmp(&right_value.len());
            let order = order.then_with(|| left_value.cmp(right_value));
            if order.is_ne() {
                return order;
            }
            a = a.get(left.len()..).unwrap_or_default();
            b = b.get(right.len()..).unwrap_or_default();
            continue;
        }
        match (a.split_first(), b.split_first()) {
            (Some((left, a_rest)), Some((right, b_rest))) if left == right => {
                (a, b) = (a_rest, b_rest);
            }
            (left, right) => return left.map(|(byte, _)| byte).cmp(&right.map(|(byte, _)| byte)),
        }
    }
}

/// The digits at the beginning.
fn digits(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit());
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()
}

/// Digits without leading zeros.
fn value(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let ascending = [
            "a/cap9.pcap",
            "a2/cap1.pcap",
            "a10/cap.pcap",
            "a10/cap1.pcap",
            "a10/cap01.pcap2",
            "a10/cap2.pcap",
            "a10/cap10.pcap",
            "a10/cap10_99999999999999999999999998.pcap",
            "a10/cap10_99999999999999999999999999.pcap",
            "a10/cap11",
            "b",
        ];
        for (place, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                let order = compare(Path::new(a), Path::new(b));
                assert_eq!(order, place.cmp(&other), "{a} {b}");
            }
        }
        let (one, padded) = (Path::new("cap1"), Path::new("cap01"));
        assert!(compare(one, padded).is_ne());
        assert_eq!(compare(one, padded), compare(padded, one).reverse());
    }
}
