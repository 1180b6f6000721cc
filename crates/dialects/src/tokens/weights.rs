//! What runs cost, in hundredths of a token.
//!
//! Fitted by non-negative least squares on some 2,500 texts of 200 to 4,000 bytes (prose, source
//! code, JSON, Chinese) against their count in `o200k_base`, then rounded and smoothed by hand
//! where few texts spoke. `docs/wire/tokens.md` says how to fit them again.
//!
//! Three rules keep counts monotone: rows never fall, slopes are not negative, and a word of two
//! capitals costs no less than one capital, because that is what it grows from.

use super::scan::Class;

/// How many units make a token.
pub(super) const UNIT: u64 = 100;

/// Lengths up to here have a cost of their own.
const LAST: usize = 12;

/// What a run costs by its length, from 0 to [`LAST`], and each character beyond.
#[derive(Clone, Copy)]
struct Row {
    upto: [u16; LAST + 1],
    slope: u16,
}

/// A row that grows evenly: `first` for one character, `each` for any further one.
const fn even(first: u16, each: u16) -> Row {
    let mut upto = [0; LAST + 1];
    let mut length = 1;
    let mut cost = first;
    while length <= LAST {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, in bounds")]
        {
            upto[length] = cost;
        }
        cost += each;
        length += 1;
    }
    Row { upto, slope: each }
}

const fn row(upto: [u16; LAST + 1], slope: u16) -> Row {
    Row { upto, slope }
}

/// The costs of a class.
const fn costs(class: Class) -> Row {
    match class {
        Class::LowerSpaced => {
            row([0, 83, 83, 100, 101, 111, 112, 112, 113, 131, 132, 133, 135], 14)
        }
        Class::LowerMarked => row([0, 47, 47, 47, 47, 47, 47, 52, 80, 94, 120, 125, 128], 16),
        Class::LowerBare => row([0, 97, 97, 122, 123, 123, 134, 134, 135, 138, 141, 150, 180], 40),
        Class::CapitalSpaced => row([0, 95, 95, 95, 95, 95, 95, 95, 98, 145, 150, 153, 158], 40),
        Class::CapitalMarked => row([0, 23, 55, 55, 55, 60, 92, 97, 100, 128, 148, 180, 200], 20),
        Class::CapitalBare => row([0, 95, 95, 95, 95, 95, 95, 96, 98, 108, 115, 145, 200], 30),
        Class::UpperSpaced => {
            row([0, 95, 95, 115, 117, 117, 117, 118, 120, 125, 130, 135, 140], 20)
        }
        Class::UpperBare => row([0, 95, 108, 110, 110, 112, 114, 118, 125, 140, 180, 220, 250], 40),
        Class::LowerTail => row([0, 35, 109, 184, 240, 258, 258, 258, 258, 258, 258, 258, 260], 10),
        // Three digits are one token; `cost` counts them by threes.
        Class::Digits => even(108, 108),
        Class::SpaceBeforeDigits => even(84, 0),
        Class::Blanks => row([0, 0, 94, 94, 100, 103, 103, 103, 103, 103, 103, 103, 103], 1),
        Class::BreakAfterMark => row([0, 0, 41, 41, 50, 50, 50, 50, 50, 50, 50, 50, 50], 2),
        Class::Break => row([0, 120, 120, 120, 122, 122, 122, 122, 122, 122, 122, 122, 122], 2),
        Class::Mark => even(80, 0),
        Class::MarkAlone => even(15, 0),
        Class::MarkChanges => row([0, 0, 2, 8, 40, 75, 150, 240, 330, 420, 510, 600, 690], 90),
        Class::MarkRepeats => even(1, 3),
        Class::Accented => even(10, 5),
        Class::TwoByteLetters => even(110, 14),
        Class::ThreeByteLetters => even(40, 44),
        Class::Han => even(108, 77),
        Class::Kana => even(94, 53),
        Class::Hangul => even(110, 50),
        Class::WideMarks => even(55, 48),
        Class::Symbols => even(107, 110),
        Class::FourByte => even(170, 130),
    }
}

const TABLE: [Row; Class::COUNT] = table();

const fn table() -> [Row; Class::COUNT] {
    let mut table = [even(0, 0); Class::COUNT];
    let mut index = 0;
    while index < Class::COUNT {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, in bounds")]
        {
            table[index] = costs(Class::ALL[index]);
        }
        index += 1;
    }
    table
}

/// What a run costs.
#[inline]
pub(super) fn cost(class: Class, length: usize) -> u64 {
    let length = if class == Class::Digits { length.div_ceil(3) } else { length };
    // A class is always within the table, and a length is cut to it.
    let Some(row) = TABLE.get(class as usize) else {
        return 0;
    };
    let within = row.upto.get(length.min(LAST)).copied().unwrap_or_default();
    u64::from(within) + u64::from(row.slope) * length.saturating_sub(LAST) as u64
}

#[cfg(test)]
mod tests {
    use super::{Class, LAST, cost};

    #[test]
    fn no_cost_falls_as_a_run_grows() {
        for class in Class::ALL {
            for length in 0..LAST + 20 {
                assert!(cost(class, length) <= cost(class, length + 1), "{class:?} {length}");
            }
        }
        assert!(cost(Class::CapitalSpaced, 1) <= cost(Class::UpperSpaced, 2));
        assert!(cost(Class::CapitalBare, 1) <= cost(Class::UpperBare, 2));
        assert!(cost(Class::CapitalMarked, 1) <= cost(Class::UpperBare, 2));
    }
}
