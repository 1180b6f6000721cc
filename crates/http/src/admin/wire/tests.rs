//! Values come back as they were, and odd ones are refused.

use proptest::prelude::*;

use super::{Instant, Length, Money};

#[test]
fn money_is_exact() {
    for (text, nanos, shown) in [
        ("0", 0, "0.00"),
        ("25", 25_000_000_000, "25.00"),
        ("0.5", 500_000_000, "0.50"),
        ("007.000000001", 7_000_000_001, "7.000000001"),
        ("0.1", 100_000_000, "0.10"),
    ] {
        assert_eq!(text.parse(), Ok(Money(nanos)));
        assert_eq!(Money(nanos).to_string(), shown);
    }
    for wrong in
        ["", ".", "1.", ".5", "-1", "+1", "1e3", "$1", "1,5", "0.0000000001", "18446744074"]
    {
        assert!(wrong.parse::<Money>().is_err(), "{wrong}");
    }
}

#[test]
fn times_are_utc_and_within_the_calendar() {
    assert_eq!("2026-11-25".parse(), Ok(Instant(1_795_564_800_000)));
    assert_eq!("2026-11-25T01:00:00.5Z".parse(), Ok(Instant(1_795_568_400_500)));
    assert_eq!(Instant(1_795_568_400_500).to_string(), "2026-11-25T01:00:00.500Z");
    assert_eq!(Instant(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    assert_eq!(Instant(i64::MIN).to_string(), "1970-01-01T00:00:00.000Z");
    for wrong in ["", "now", "2026-11-25T01:00:00+01:00", "1969-12-31", "2026-13-01"] {
        assert!(wrong.parse::<Instant>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn money_comes_back(nanos: u64) {
        prop_assert_eq!(Money(nanos).to_string().parse(), Ok(Money(nanos)));
    }

    #[test]
    fn times_come_back(at in 0..253_402_300_799_999i64) {
        prop_assert_eq!(Instant(at).to_string().parse(), Ok(Instant(at)));
    }

    /// Whatever a caller writes is read or refused.
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,24}", date in "[0-9TZ:.+-]{8,24}", age in "[0-9]{0,24}[ydhm]{1,2}") {
        for text in [text, date, age] {
            drop(text.parse::<Instant>());
            drop(text.parse::<Money>());
            if let Ok(length) = text.parse::<Length>() {
                prop_assert!(length.after(5) >= 5);
            }
        }
    }
}
