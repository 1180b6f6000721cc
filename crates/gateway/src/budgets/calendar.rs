//! Calendar windows in a named time zone.
//!
//! The windows of a span tile the time line: each begins where the one before it ends, also where
//! clocks are put forward or back, so that no moment is outside all budgets and none is in two
//! windows of a span.

#[cfg(test)]
mod tests;
mod zone;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

pub use zone::NoSuchZone;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// The first and last moments whose windows are computed: the years 1 to 9000.
const COMPUTED: (i64, i64) = (-62_135_596_800_000, 221_845_392_000_000);

/// A point in time in whole milliseconds since the Unix epoch, from a clock that people may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// A minute of the zone's clocks.
    Minute,
    /// An hour of the zone's clocks.
    Hour,
    /// A calendar day: 23 or 25 hours when clocks are changed.
    Day,
    /// An ISO week, which begins on Monday.
    Week,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

impl Span {
    /// Every span, shortest first.
    pub const ALL: [Self; 6] =
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];

    /// The span's name in settings and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

/// A stretch of time from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first millisecond inside.
    pub start: WallTime,
    /// The first millisecond after.
    pub end: WallTime,
}

impl Window {
    /// All time: from `i64::MIN` to `i64::MAX`.
    pub const TOTAL: Self = Self { start: WallTime(i64::MIN), end: WallTime(i64::MAX) };

    /// Says whether a time is inside.
    pub fn contains(&self, time: WallTime) -> bool {
        self.start <= time && time < self.end
    }

    /// When the window ends; `None` if it never does.
    pub fn ends(&self) -> Option<WallTime> {
        (self.end != Self::TOTAL.end).then_some(self.end)
    }
}

/// The calendar of one time zone.
///
/// A question costs up to a few microseconds. Ask again only when the last window has ended, as
/// [`super::Meter`] does.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: TimeZone::UTC }
    }
}

impl Calendar {
    /// The calendar of the zone with this IANA name, such as `Europe/Berlin` or `UTC`.
    ///
    /// The system's zones are asked first, since they follow governments faster than our releases
    /// do; the zones that are compiled in serve systems without them. Reads a file, so it belongs
    /// where settings are read. Fails if neither knows the name.
    pub fn new(name: &str) -> Result<Self, NoSuchZone> {
        zone::find(name).map(|zone| Self { zone })
    }

    /// The zone's name, as the zone database spells it.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// A time as people of the zone write it, with the offset: `2026-11-26T00:00:00+01:00`.
    pub fn show(&self, time: WallTime) -> String {
        let millis = time.0.clamp(COMPUTED.0, COMPUTED.1);
        let time = Timestamp::from_millisecond(millis).unwrap_or_default();
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// The window of a span that contains `now`.
    ///
    /// Days, weeks and months are those of the zone's calendar. A day that clocks skip belongs to
    /// none; midnight that comes twice begins the new day the first time.
    ///
    /// Minutes and hours are even stretches of absolute time, aligned to the zone's clocks: an hour
    /// that clocks repeat is two windows. Where clocks are changed by half an hour, the window that
    /// is running is cut short there.
    ///
    /// A time outside the years 1 to 9000 gets the window of the nearer end.
    pub fn window(&self, span: Span, now: WallTime) -> Window {
        let now = now.0.clamp(COMPUTED.0, COMPUTED.1);
        let window = match span {
            Span::Minute => self.stretch(MINUTE, now),
            Span::Hour => self.stretch(HOUR, now),
            Span::Day => self.days(now, Some, |date| date.tomorrow().ok()),
            Span::Week => {
                self.days(now, monday, |date| date.checked_add(jiff::Span::new().days(7)).ok())
            }
            Span::Month => self.days(
                now,
                |date| Some(date.first_of_month()),
                |date| date.last_of_month().tomorrow().ok(),
            ),
            Span::Total => Some(Window::TOTAL),
        };
        // Every time in the computed years has its window; a day of UTC is better than a panic.
        window.unwrap_or_else(|| {
            let start = now - now.rem_euclid(24 * HOUR);
            Window { start: WallTime(start), end: WallTime(start + 24 * HOUR) }
        })
    }

    /// An even stretch of `length` milliseconds on the zone's clocks, cut where clocks change by
    /// something that is no multiple of it.
    fn stretch(&self, length: i64, now: i64) -> Option<Window> {
        let offset = self.offset(now)?;
        let mut start = now - (now + offset).rem_euclid(length);
        let mut end = start + length;
        for change in self.zone.preceding(instant(now + 1)?) {
            let at = change.timestamp().as_millisecond();
            if at <= start {
                break;
            }
            if (self.offset(at - 1)? - offset).rem_euclid(length) != 0 {
                start = at;
                break;
            }
        }
        for change in self.zone.following(instant(now)?) {
            let at = change.timestamp().as_millisecond();
            if at >= end {
                break;
            }
            if (self.offset(at)? - offset).rem_euclid(length) != 0 {
                end = at;
                break;
            }
        }
        Some(Window { start: WallTime(start), end: WallTime(end) })
    }

    /// The stretch between two dates that begin a period. `first` finds the beginning of a date's
    /// period, `next` that of the period after it.
    fn days(
        &self,
        now: i64,
        first: impl Fn(Date) -> Option<Date>,
        next: impl Fn(Date) -> Option<Date>,
    ) -> Option<Window> {
        let mut date = first(self.zone.to_datetime(instant(now)?).date())?;
        let mut start = self.begin(date)?;
        date = next(date)?;
        let mut end = self.begin(date)?;
        // Clocks that go back over midnight show yesterday's date again after today has begun. The
        // moments decide then, not the date that the clocks show.
        while end <= now {
            start = end;
            date = next(date)?;
            end = self.begin(date)?;
        }
        Some(Window { start: WallTime(start), end: WallTime(end) })
    }

    /// The first moment at which the zone's clocks show this date or a later one.
    fn begin(&self, date: Date) -> Option<i64> {
        let midnight = self.zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
        let skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
        let midnight = midnight.compatible().ok()?.as_millisecond();
        if skipped {
            let change = self.zone.preceding(instant(midnight + 1)?).next()?;
            return Some(change.timestamp().as_millisecond());
        }
        Some(midnight)
    }

    /// How far the zone's clocks are ahead of UTC, in milliseconds.
    fn offset(&self, at: i64) -> Option<i64> {
        Some(i64::from(self.zone.to_offset(instant(at)?).seconds()) * 1_000)
    }
}

fn instant(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}

fn monday(date: Date) -> Option<Date> {
    let past = i64::from(date.weekday().since(Weekday::Monday));
    date.checked_sub(jiff::Span::new().days(past)).ok()
}
