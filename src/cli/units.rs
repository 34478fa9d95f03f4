//! Sizes and durations as people write them.

/// Parses a size: a number, maybe with a decimal point, and a unit. `K M G T` and `KiB MiB GiB TiB`
/// are powers of 1024, `kB MB GB TB` powers of 1000, no unit is bytes; case does not matter, save
/// that a lone letter is always binary.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => {
            return Err(format!(
                "unknown unit '{unit}'; write for example 512MiB, 4G or 16000000"
            ));
        }
    };
    whole(number, factor, "512MiB, 4G or 16000000")
}

/// Parses a duration into nanoseconds: a number and `ms`, `s` (or nothing), `m` or `h`.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ms" => 1e6,
        "" | "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => {
            return Err(format!(
                "unknown unit '{unit}'; write for example 500ms, 130s, 5m or 1h"
            ));
        }
    };
    let nanoseconds = whole(number, factor, "500ms, 130s, 5m or 1h")?;
    i64::try_from(nanoseconds).map_err(|_| "more than 292 years".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn whole(number: &str, factor: f64, examples: &str) -> Result<u64, String> {
    // Whole numbers are exact to the last digit; only those with a point go through a float.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked below"
    )]
    let value = match number.parse::<u64>() {
        Ok(number) => number.checked_mul(factor as u64),
        Err(_) => number
            .parse::<f64>()
            .ok()
            .map(|number| number * factor)
            .filter(|value| value.is_finite() && *value < 1.8e19)
            .map(|value| value as u64),
    };
    value.ok_or_else(|| format!("not a number that can be used here; write for example {examples}"))
}

/// A byte count for people: `1.23 GB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A count for people: `1,234,567`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("16 mib"), Ok(16 << 20));
        assert_eq!(size("1.5K"), Ok(1536));
        assert_eq!(size("2MB"), Ok(2_000_000));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX));
        assert!(size("99999T").is_ok() && size("99999999T").is_err());
        for bad in ["", "x", "4Q", "-1", "1.2.3", "nan"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("130"), Ok(130_000_000_000));
        assert_eq!(duration("500ms"), Ok(500_000_000));
        assert_eq!(duration("1.5h"), Ok(5_400_000_000_000));
        assert!(duration("5d").is_err());
        assert!(duration("99999999999h").is_err());
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.23 MB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
    }
}
