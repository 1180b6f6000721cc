//! Cuts a text into runs the way that tokenizers of the `o200k` kind do.
//!
//! Those first cut a text by a regular expression: a word takes one space or one mark before it,
//! digits go by threes, marks run together and take the line breaks behind them, and white space
//! leaves its last character to the next word. Only then do they look into a vocabulary. The
//! first step is done here; what a run costs on average is in `weights.rs`.
//!
//! Each run is reported when it can no longer grow, and nothing is ever taken back: what depends
//! on the next run is reported as a surcharge when that run comes. That keeps counts monotone.

/// Takes the runs of a text.
pub(super) trait Sink {
    /// A run of `length` bytes or characters, by its class.
    fn run(&mut self, class: Class, length: usize);
}

/// What a run is made of, and what stands before it where that changes its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Small letters behind one space.
    LowerSpaced,
    /// Small letters behind one mark that belongs to them (`.name`, `(arg`).
    LowerMarked,
    /// Small letters with neither.
    LowerBare,
    /// A capital and small letters behind it, behind one space.
    CapitalSpaced,
    /// The same behind one mark.
    CapitalMarked,
    /// The same with neither: `Case` in `camelCase`.
    CapitalBare,
    /// Two capitals or more, behind one space.
    UpperSpaced,
    /// The same without a space.
    UpperBare,
    /// Small letters behind two capitals or more: `s` in `URLs`.
    LowerTail,
    /// Digits.
    Digits,
    /// One space before digits, which do not take it.
    SpaceBeforeDigits,
    /// Two blanks or more.
    Blanks,
    /// Line breaks behind marks, which mostly take them.
    BreakAfterMark,
    /// Line breaks anywhere else.
    Break,
    /// One mark that may belong to a word behind it.
    Mark,
    /// What that mark costs more if no word follows.
    MarkAlone,
    /// A run of marks by the number of its changes from one mark to another.
    MarkChanges,
    /// The same by the number of repetitions of a mark.
    MarkRepeats,
    /// Letters of Latin with a diacritic, on top of the word they stand in.
    Accented,
    /// Letters of alphabets with two bytes (Cyrillic, Greek, Hebrew, Arabic).
    TwoByteLetters,
    /// Letters of other alphabets (Devanagari, Thai and so on).
    ThreeByteLetters,
    /// Chinese characters.
    Han,
    /// Japanese syllables.
    Kana,
    /// Korean syllables.
    Hangul,
    /// Full-width marks.
    WideMarks,
    /// Typographic marks, arrows, boxes.
    Symbols,
    /// Emoji and whatever else takes four bytes.
    FourByte,
}

impl Class {
    /// How many classes there are.
    pub(super) const COUNT: usize = Self::FourByte as usize + 1;

    /// Every class, in the order of its number.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::LowerSpaced,
        Self::LowerMarked,
        Self::LowerBare,
        Self::CapitalSpaced,
        Self::CapitalMarked,
        Self::CapitalBare,
        Self::UpperSpaced,
        Self::UpperBare,
        Self::LowerTail,
        Self::Digits,
        Self::SpaceBeforeDigits,
        Self::Blanks,
        Self::BreakAfterMark,
        Self::Break,
        Self::Mark,
        Self::MarkAlone,
        Self::MarkChanges,
        Self::MarkRepeats,
        Self::Accented,
        Self::TwoByteLetters,
        Self::ThreeByteLetters,
        Self::Han,
        Self::Kana,
        Self::Hangul,
        Self::WideMarks,
        Self::Symbols,
        Self::FourByte,
    ];
}

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Lower,
    Upper,
    Digit,
    Blank,
    Break,
    Mark,
    High,
}

const KINDS: [Kind; 256] = kinds();

const fn kinds() -> [Kind; 256] {
    let mut kinds = [Kind::Mark; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, in bounds")]
        {
            kinds[byte] = match byte as u8 {
                b'a'..=b'z' => Kind::Lower,
                b'A'..=b'Z' => Kind::Upper,
                b'0'..=b'9' => Kind::Digit,
                b' ' | b'\t' => Kind::Blank,
                b'\n' | b'\r' => Kind::Break,
                0x80..=0xff => Kind::High,
                _ => Kind::Mark,
            };
        }
        byte += 1;
    }
    kinds
}

#[inline]
fn kind(byte: u8) -> Kind {
    // A byte is always within the table; the fallback is never taken.
    KINDS.get(usize::from(byte)).copied().unwrap_or(Kind::Mark)
}

/// What stands directly before the place that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The start, a letter, a digit, a line break.
    Other,
    /// Exactly one space that nothing has taken yet.
    Space,
    /// Exactly one mark that a word may take.
    Mark,
    /// Marks that no word takes.
    Marks,
    /// Two blanks or more, whose last the next word takes.
    Blanks,
    /// A letter with a diacritic: the word goes on.
    Accent,
}

/// Reports the runs of `text` to `sink`.
pub(super) fn scan<S: Sink>(text: &str, sink: &mut S) {
    let mut rest = text.as_bytes();
    let mut before = Before::Other;
    while let Some(&first) = rest.first() {
        let (length, next) = match kind(first) {
            Kind::Lower => {
                let length = small_letters(rest);
                sink.run(
                    pick(before, Class::LowerSpaced, Class::LowerMarked, Class::LowerBare),
                    length,
                );
                (length, Before::Other)
            }
            Kind::Upper => (capitals(rest, before, sink), Before::Other),
            Kind::Digit => {
                settle(before, sink);
                if matches!(before, Before::Space | Before::Blanks) {
                    sink.run(Class::SpaceBeforeDigits, 1);
                }
                let length = ahead(rest, Kind::Digit);
                sink.run(Class::Digits, length);
                (length, Before::Other)
            }
            Kind::Blank => {
                settle(before, sink);
                let length = ahead(rest, Kind::Blank);
                if length > 1 {
                    sink.run(Class::Blanks, length);
                }
                (length, if length > 1 { Before::Blanks } else { Before::Space })
            }
            Kind::Break => {
                let length = ahead(rest, Kind::Break);
                match before {
                    Before::Mark | Before::Marks => sink.run(Class::BreakAfterMark, length),
                    // Blanks and the breaks behind them are one run.
                    Before::Blanks => {}
                    Before::Other | Before::Space | Before::Accent => {
                        sink.run(Class::Break, length);
                    }
                }
                (length, Before::Other)
            }
            Kind::Mark => marks(rest, before, sink),
            Kind::High => high(rest, before, sink),
        };
        before = next;
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Picks the class of a word by what stands before it.
#[inline]
fn pick(before: Before, spaced: Class, marked: Class, bare: Class) -> Class {
    match before {
        Before::Space | Before::Blanks => spaced,
        Before::Mark => marked,
        Before::Other | Before::Marks => bare,
        Before::Accent => Class::LowerTail,
    }
}

/// Charges a mark that waited for a word when something else comes.
#[inline]
fn settle<S: Sink>(before: Before, sink: &mut S) {
    if before == Before::Mark {
        sink.run(Class::MarkAlone, 1);
    }
}

/// Counts the bytes of one kind at the start of `bytes`.
#[inline]
fn ahead(bytes: &[u8], wanted: Kind) -> usize {
    bytes.iter().position(|&byte| kind(byte) != wanted).unwrap_or(bytes.len())
}

/// Counts the small letters at the start of `bytes`. Most of a text is that, so eight bytes are
/// looked at at once.
#[inline]
fn small_letters(bytes: &[u8]) -> usize {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let mut seen = 0;
    let mut rest = bytes;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let eight = u64::from_le_bytes(*eight);
        // Without its highest bit no byte carries into the next.
        let low = eight & !HIGH;
        let from_a = low + each(0x80 - b'a');
        let behind_z = low + each(0x80 - b'z' - 1);
        let others = (!from_a | behind_z | eight) & HIGH;
        if others != 0 {
            return seen + others.trailing_zeros() as usize / 8;
        }
        seen += 8;
        rest = behind;
    }
    seen + ahead(rest, Kind::Lower)
}

/// Reads a word that begins with a capital.
fn capitals<S: Sink>(rest: &[u8], before: Before, sink: &mut S) -> usize {
    let upper = ahead(rest, Kind::Upper);
    let lower = small_letters(rest.get(upper..).unwrap_or_default());
    if upper == 1 {
        let class = pick(before, Class::CapitalSpaced, Class::CapitalMarked, Class::CapitalBare);
        sink.run(class, 1 + lower);
    } else {
        sink.run(pick(before, Class::UpperSpaced, Class::UpperBare, Class::UpperBare), upper);
        if lower > 0 {
            sink.run(Class::LowerTail, lower);
        }
    }
    upper + lower
}

/// Reads ASCII marks.
fn marks<S: Sink>(rest: &[u8], before: Before, sink: &mut S) -> (usize, Before) {
    let length = ahead(rest, Kind::Mark);
    if matches!(before, Before::Other | Before::Accent) && length == 1 {
        sink.run(Class::Mark, 1);
        return (length, Before::Mark);
    }
    let run = rest.get(..length).unwrap_or_default();
    let repeats = run.iter().zip(run.iter().skip(1)).filter(|(a, b)| a == b).count();
    sink.run(Class::Mark, 1);
    sink.run(Class::MarkAlone, 1);
    // The first mark is a change too, so that a run of one is told from none.
    sink.run(Class::MarkChanges, length - repeats);
    if repeats > 0 {
        sink.run(Class::MarkRepeats, repeats);
    }
    (length, Before::Marks)
}

/// Reads characters outside ASCII, as far as they are of one class.
fn high<S: Sink>(rest: &[u8], before: Before, sink: &mut S) -> (usize, Before) {
    let (class, mut length) = high_class(rest);
    let mut count = 1;
    while rest.get(length).is_some_and(|&byte| byte >= 0x80) {
        let (next, more) = high_class(rest.get(length..).unwrap_or_default());
        if next != class {
            break;
        }
        length += more;
        count += 1;
    }
    if class != Class::Accented {
        settle(before, sink);
    }
    sink.run(class, count);
    let next = match class {
        Class::WideMarks | Class::Symbols => Before::Marks,
        Class::Accented => Before::Accent,
        _ => Before::Other,
    };
    (length, next)
}

/// Finds the class and the length in bytes of the character at the start of `bytes`.
fn high_class(bytes: &[u8]) -> (Class, usize) {
    let at = |index: usize| u32::from(bytes.get(index).copied().unwrap_or_default() & 0x3f);
    match bytes.first().copied().unwrap_or_default() {
        0xc2 => (Class::Symbols, 2),
        0xc3..=0xca => (Class::Accented, 2),
        0x80..=0xdf => (Class::TwoByteLetters, 2),
        lead @ 0xe0..=0xef => {
            let scalar = (u32::from(lead & 0x0f) << 12) | (at(1) << 6) | at(2);
            let class = match scalar {
                0x2000..=0x2bff => Class::Symbols,
                0x3000..=0x303f | 0xff00..=0xff65 => Class::WideMarks,
                0x3040..=0x30ff | 0xff66..=0xff9f => Class::Kana,
                0x3400..=0x9fff | 0xf900..=0xfaff => Class::Han,
                0xac00..=0xd7ff => Class::Hangul,
                0x1e00..=0x1eff => Class::Accented,
                _ => Class::ThreeByteLetters,
            };
            (class, 3)
        }
        _ => (Class::FourByte, 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, ahead, small_letters};

    /// Wherever a run of small letters ends, and whatever ends it.
    #[test]
    fn eight_letters_at_once_are_counted_as_one_by_one() {
        for letters in 0..=20 {
            for end in 0..=u8::MAX {
                let mut text = vec![b'q'; letters];
                text.push(end);
                // Enough behind it that the end lies anywhere within eight bytes.
                text.extend([b'q'; 16]);
                assert_eq!(small_letters(&text), ahead(&text, Kind::Lower), "{letters} {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_counted_alike(
            bytes in prop::collection::vec(prop_oneof![30 => b'a'..=b'z', 1 => any::<u8>()], 0..80),
        ) {
            prop_assert_eq!(small_letters(&bytes), ahead(&bytes, Kind::Lower));
        }
    }
}
