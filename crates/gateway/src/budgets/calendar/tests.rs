//! Windows against the laws of a calendar and against dates from the zone database.

use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use super::{Calendar, Span, WallTime, Window};

const HOUR: i64 = 3_600_000;

/// Zones with every oddity that we know of, and a moment near it.
const ODD: [(&str, &str); 17] = [
    ("UTC", "2024-02-29T00:00:00Z"),
    ("Europe/Berlin", "2025-03-30T01:00:00Z"),
    ("Europe/Berlin", "2025-10-26T01:00:00Z"),
    ("America/New_York", "2025-03-09T07:00:00Z"),
    ("America/New_York", "2025-11-02T06:00:00Z"),
    // Clocks change by half an hour.
    ("Australia/Lord_Howe", "2025-10-04T15:30:00Z"),
    ("Australia/Lord_Howe", "2025-04-05T15:00:00Z"),
    ("Asia/Singapore", "1981-12-31T16:00:00Z"),
    // A day that never was, and a day that was twice.
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
    ("America/Juneau", "1867-10-18T23:27:41Z"),
    // Clocks change at midnight, or a minute after it.
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("America/St_Johns", "2010-11-07T02:31:00Z"),
    ("America/Toronto", "1919-03-31T04:30:00Z"),
    // Clocks that are off by three quarters, and by odd seconds.
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
    ("Africa/Monrovia", "1972-01-07T00:44:30Z"),
];

fn at(text: &str) -> WallTime {
    WallTime(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
}

/// From the zones that are compiled in, which are the same on every system.
fn calendar(zone: &str) -> Calendar {
    Calendar { zone: TimeZoneDatabase::bundled().get(zone).expect("a zone") }
}

/// A window as the zone's clocks show it.
fn shown(calendar: &Calendar, window: Window) -> String {
    let show = |time: WallTime| {
        let time = jiff::Timestamp::from_millisecond(time.0).expect("a time");
        time.to_zoned(calendar.zone.clone()).strftime("%FT%T%:z").to_string()
    };
    format!("{} {}", show(window.start), show(window.end))
}

#[track_caller]
fn lasts(zone: &str, span: Span, now: &str, hours: i64) {
    let window = calendar(zone).window(span, at(now));
    assert_eq!(window.end.0 - window.start.0, hours * HOUR, "{}", shown(&calendar(zone), window));
}

fn moment() -> impl Strategy<Value = (&'static str, WallTime)> {
    let near = prop_oneof![-5_i64..5, -4 * HOUR..4 * HOUR, -40 * 24 * HOUR..40 * 24 * HOUR];
    let odd = (prop::sample::select(&ODD[..]), near)
        .prop_map(|((zone, moment), by)| (zone, WallTime(at(moment).0 + by)));
    let any = (prop::sample::select(&ODD[..]), -4_000_000_000_000_i64..8_000_000_000_000)
        .prop_map(|((zone, _), moment)| (zone, WallTime(moment)));
    prop_oneof![3 => odd, 1 => any]
}

fn span() -> impl Strategy<Value = Span> {
    prop::sample::select(&Span::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn windows_tile_the_time_line((zone, now) in moment(), span in span(), inside in 0.0..1.0_f64) {
        let calendar = calendar(zone);
        let window = calendar.window(span, now);
        prop_assert!(window.contains(now), "{} {now:?}", shown(&calendar, window));
        if span == Span::Total {
            prop_assert_eq!(window, Window::TOTAL);
            return Ok(());
        }
        let length = window.end.0 - window.start.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any place will do")]
        let place = WallTime(window.start.0 + (length as f64 * inside) as i64);
        for same in [window.start, place, WallTime(window.end.0 - 1)] {
            prop_assert_eq!(calendar.window(span, same), window);
        }
        prop_assert_eq!(calendar.window(span, window.end).start, window.end);
        prop_assert_eq!(calendar.window(span, WallTime(window.start.0 - 1)).end, window.start);
        let hours = length / HOUR;
        match span {
            Span::Minute => prop_assert!(length <= 60_000),
            Span::Hour => prop_assert!(length <= HOUR),
            Span::Day => prop_assert!((22..=48).contains(&hours), "{hours}"),
            Span::Week => prop_assert!((6 * 24 - 2..=8 * 24).contains(&hours), "{hours}"),
            Span::Month => prop_assert!((27 * 24..=32 * 24).contains(&hours), "{hours}"),
            Span::Total => {}
        }
    }

    #[test]
    fn any_clock_has_windows(now in any::<i64>(), span in span()) {
        for zone in ["Pacific/Apia", "America/New_York"] {
            let window = calendar(zone).window(span, WallTime(now));
            prop_assert!(window.start < window.end);
        }
    }
}

#[test]
fn days_are_those_of_the_zone() {
    for (zone, day, shown_as) in [
        (
            "Europe/Berlin",
            "2025-03-30T12:00:00Z",
            "2025-03-30T00:00:00+01:00 2025-03-31T00:00:00+02:00",
        ),
        (
            "Europe/Berlin",
            "2025-10-25T22:00:00Z",
            "2025-10-26T00:00:00+02:00 2025-10-27T00:00:00+01:00",
        ),
        (
            "America/New_York",
            "2025-03-10T03:59:59Z",
            "2025-03-09T00:00:00-05:00 2025-03-10T00:00:00-04:00",
        ),
        (
            "Australia/Lord_Howe",
            "2025-04-05T15:00:00Z",
            "2025-04-06T00:00:00+11:00 2025-04-07T00:00:00+10:30",
        ),
        // The day before the one that was skipped ends where the day after begins.
        (
            "Pacific/Apia",
            "2011-12-30T09:59:59Z",
            "2011-12-29T00:00:00-10:00 2011-12-31T00:00:00+14:00",
        ),
        (
            "Pacific/Apia",
            "2011-12-30T10:00:00Z",
            "2011-12-31T00:00:00+14:00 2012-01-01T00:00:00+14:00",
        ),
        // Midnight was skipped: the day begins at one o'clock.
        (
            "America/Sao_Paulo",
            "2018-11-04T12:00:00Z",
            "2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00",
        ),
        // Skipped from before midnight to after it.
        (
            "America/Toronto",
            "1919-03-31T04:40:00Z",
            "1919-03-31T00:30:00-04:00 1919-04-01T00:00:00-04:00",
        ),
        // A minute after midnight, clocks went back to yesterday. It was today already.
        (
            "America/St_Johns",
            "2010-11-07T02:45:00Z",
            "2010-11-07T00:00:00-02:30 2010-11-08T00:00:00-03:30",
        ),
    ] {
        let calendar = calendar(zone);
        assert_eq!(shown(&calendar, calendar.window(Span::Day, at(day))), shown_as, "{zone}");
    }
    lasts("Europe/Berlin", Span::Day, "2025-03-30T12:00:00Z", 23);
    lasts("Europe/Berlin", Span::Day, "2025-10-26T12:00:00Z", 25);
    lasts("America/New_York", Span::Day, "2025-11-02T12:00:00Z", 25);
}

#[test]
fn hours_are_even_except_where_clocks_change_by_half() {
    let hour = |zone: &str, now: &str| {
        let calendar = calendar(zone);
        shown(&calendar, calendar.window(Span::Hour, at(now)))
    };
    // 02:00 to 03:00 comes twice, and is two windows.
    let berlin = |now| hour("Europe/Berlin", now);
    assert_eq!(
        berlin("2025-10-26T00:30:00Z"),
        "2025-10-26T02:00:00+02:00 2025-10-26T02:00:00+01:00"
    );
    assert_eq!(
        berlin("2025-10-26T01:30:00Z"),
        "2025-10-26T02:00:00+01:00 2025-10-26T03:00:00+01:00"
    );
    let kathmandu = hour("Asia/Kathmandu", "2025-06-01T00:00:00Z");
    assert_eq!(kathmandu, "2025-06-01T05:00:00+05:45 2025-06-01T06:00:00+05:45");
    // At half past eleven, clocks went to midnight.
    let singapore = hour("Asia/Singapore", "1981-12-31T15:59:59Z");
    assert_eq!(singapore, "1981-12-31T23:00:00+07:30 1982-01-01T00:00:00+08:00");
    // At two, clocks go to half past two; and at two, back to half past one.
    let lord_howe = |now| hour("Australia/Lord_Howe", now);
    assert_eq!(
        lord_howe("2025-10-04T15:29:00Z"),
        "2025-10-05T01:00:00+10:30 2025-10-05T02:30:00+11:00"
    );
    assert_eq!(
        lord_howe("2025-10-04T15:30:00Z"),
        "2025-10-05T02:30:00+11:00 2025-10-05T03:00:00+11:00"
    );
    assert_eq!(
        lord_howe("2025-04-05T14:59:00Z"),
        "2025-04-06T01:00:00+11:00 2025-04-06T01:30:00+10:30"
    );
    assert_eq!(
        lord_howe("2025-04-05T15:00:00Z"),
        "2025-04-06T01:30:00+10:30 2025-04-06T02:00:00+10:30"
    );
}

#[test]
fn weeks_begin_on_monday_and_months_have_their_lengths() {
    let utc = Calendar::default();
    // 2024-12-30 is a Monday, and the first week of 2025 begins with it.
    let week = utc.window(Span::Week, at("2025-01-01T00:00:00Z"));
    assert_eq!(shown(&utc, week), "2024-12-30T00:00:00+00:00 2025-01-06T00:00:00+00:00");
    assert_eq!(utc.window(Span::Week, at("2024-12-30T00:00:00Z")), week);
    assert_eq!(utc.window(Span::Week, at("2025-01-05T23:59:59.999Z")), week);
    lasts("UTC", Span::Month, "2024-02-10T00:00:00Z", 29 * 24);
    lasts("UTC", Span::Month, "2025-02-10T00:00:00Z", 28 * 24);
    lasts("UTC", Span::Month, "2000-02-29T00:00:00Z", 29 * 24);
    lasts("UTC", Span::Month, "2100-02-28T00:00:00Z", 28 * 24);
    lasts("UTC", Span::Month, "2025-12-31T23:59:59Z", 31 * 24);
    lasts("Europe/Berlin", Span::Month, "2025-03-15T00:00:00Z", 31 * 24 - 1);
    lasts("Europe/Berlin", Span::Month, "2025-10-15T00:00:00Z", 31 * 24 + 1);
    lasts("Pacific/Apia", Span::Month, "2011-12-15T00:00:00Z", 30 * 24);
    lasts("Pacific/Apia", Span::Week, "2011-12-28T00:00:00Z", 6 * 24);
}

#[test]
fn an_unknown_zone_is_named_with_the_one_that_was_meant() {
    let message = |name: &str| Calendar::new(name).expect_err("no zone").to_string();
    for (name, meant) in [
        ("Europe/Belin", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("Asia/Kolkatta", "Asia/Kolkata"),
    ] {
        let expected = format!("There is no time zone `{name}`. Did you mean `{meant}`?");
        assert_eq!(message(name), expected);
    }
    for name in ["", "x", "Mars/Olympus_Mons", "../../etc/passwd", "柏林", &"x".repeat(10_000)] {
        let expected = format!(
            "There is no time zone `{name}`. Use an IANA name such as `Europe/Berlin` or `UTC`."
        );
        assert_eq!(message(name), expected);
    }
    for (name, zone) in [("europe/berlin", "Europe/Berlin"), ("UTC", "UTC")] {
        assert_eq!(Calendar::new(name).expect("a zone").zone(), zone);
    }
    assert_eq!(Calendar::default().zone(), "UTC");
}
