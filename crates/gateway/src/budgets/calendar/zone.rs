//! Finds a time zone by its name, or the name that was meant.

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A time zone that no zone database knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no time zone `{name}`.{}", hint(meant.as_deref()))]
pub struct NoSuchZone {
    /// The name as it was given.
    pub name: String,
    /// The known name that is nearest to it, if one is near.
    pub meant: Option<String>,
}

fn hint(meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!(" Did you mean `{meant}`?"),
        None => " Use an IANA name such as `Europe/Berlin` or `UTC`.".to_owned(),
    }
}

/// The zone of this name: the system's, or else the one that is compiled in.
pub(super) fn find(name: &str) -> Result<TimeZone, NoSuchZone> {
    // Nobody redefines it, and the first look at the system's zones reads all their names.
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let bundled = TimeZoneDatabase::bundled();
    jiff::tz::db()
        .get(name)
        .or_else(|_| bundled.get(name))
        .map_err(|_| NoSuchZone { name: name.to_owned(), meant: nearest(name, &bundled) })
}

/// The nearest name in the database, if it is at most three edits away.
///
/// A name without its region ("Berlin") is compared with the cities alone.
fn nearest(name: &str, database: &TimeZoneDatabase) -> Option<String> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase().replace(' ', "_");
    let near = (name.chars().count() / 3).min(3);
    database
        .available()
        .map(|known| {
            let whole = known.as_str();
            let city = whole.rsplit_once('/').map_or(whole, |(_, city)| city);
            let compared = if name.contains('/') { whole } else { city };
            (edits(&name, &compared.to_ascii_lowercase()), whole.to_owned())
        })
        .filter(|(edits, _)| *edits <= near)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, wanted) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut cells = row.iter_mut();
        if let Some(cell) = cells.next() {
            *cell = left;
        }
        for (cell, found) in cells.zip(to.chars()) {
            let replaced = diagonal + usize::from(wanted != found);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
