//! Numbers with units, exactly.
//!
//! Prices are decimal in the file and integers everywhere else. Nothing here touches a binary
//! fraction.

use std::time::Duration;

/// Reads a plain decimal, scaled by ten to the power of `places`.
///
/// `None` where it is no decimal, has more places than that, or does not fit.
pub(super) fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(places)?)?;
    let fraction = match fraction {
        "" => 0,
        digits => digits.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(missing)?)?,
    };
    whole.checked_add(fraction)
}

/// Writes what [`decimal`] reads, in its shortest form.
pub(super) fn decimal_text(scaled: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let (whole, fraction) = (scaled / unit, scaled % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0width$}", width = places as usize);
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Reads a whole number with a unit of time: `s`, `m`, `h`, `d` or `w`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads a whole number of bytes with a unit: `B`, `kB` to `TB` (thousands), `KiB` to `TiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Writes bytes with the largest unit that leaves no rest.
pub(super) fn bytes_text(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Writes a time of whole seconds with the largest unit that leaves no rest.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (length, unit) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds != 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let at = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Duration, bytes, bytes_text, decimal, decimal_text, duration, duration_text};

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, scaled) in [
            ("2.50", 2_500_000),
            ("10", 10_000_000),
            ("0.33", 330_000),
            ("0.000001", 1),
            ("0.1000000000", 100_000),
            ("0", 0),
        ] {
            assert_eq!(decimal(text, 6), Some(scaled), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e3", "inf", "1,5", "0.0000001", "1_0"] {
            assert_eq!(decimal(wrong, 6), None, "{wrong}");
        }
        assert_eq!(decimal("18446744073709.551616", 6), None, "it does not fit");
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("90d"), Some(Duration::from_hours(90 * 24)));
        assert_eq!(duration("2 w"), Some(Duration::from_hours(14 * 24)));
        assert_eq!(bytes("10GiB"), Some(10 << 30));
        assert_eq!(bytes("5 mb"), Some(5_000_000));
        assert_eq!(bytes("7"), Some(7));
        for wrong in ["", "d", "90", "1y", "-1d", "1.5h", "99999999999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        for wrong in ["", "GiB", "1.5GiB", "-1", "1XB", "99999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(scaled: u64, seconds in 0..u64::MAX / 2) {
            prop_assert_eq!(decimal(&decimal_text(scaled, 6), 6), Some(scaled));
            prop_assert_eq!(bytes(&bytes_text(scaled)), Some(scaled));
            let time = Duration::from_secs(seconds);
            prop_assert_eq!(duration(&duration_text(time)), Some(time));
        }
    }
}
