//! Patterns for names of models: `*` for any text, `?` for one character.
//!
//! Nothing more, so that whether one pattern lies within another can be told.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes.
const LONGEST: usize = 200;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Empty, or longer than 200 bytes.
    #[error("a pattern has 1 to 200 bytes")]
    Length,
    /// It holds control characters.
    #[error("a pattern holds no control characters")]
    Control,
}

/// A pattern for names of models.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name fits. Takes at most the product of both lengths in steps.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name, |_| true)
    }

    /// Whether every name that fits `inner` fits this pattern. May say no where the answer would
    /// be yes; never the other way round.
    pub fn covers(&self, inner: &Self) -> bool {
        // A `*` of the other stands for any text, so one character of ours cannot cover it.
        matches(&self.0, &inner.0, |character| character != '*')
    }
}

/// Matches with one point to come back to: the last `*` (no other can do better).
fn matches(pattern: &str, name: &str, single: impl Fn(char) -> bool) -> bool {
    let (mut rest, mut left) = (pattern.chars(), name.chars());
    let mut again: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let here = (rest.clone(), left.clone());
        match (rest.next(), left.next()) {
            (Some('*'), _) => {
                left = here.1;
                again = Some((rest.clone(), left.clone()));
                continue;
            }
            (Some('?'), Some(character)) if single(character) => continue,
            (Some(wanted), Some(character)) if wanted == character && wanted != '?' => continue,
            (None, None) => return true,
            _ => {}
        }
        let Some((after, mut from)) = again.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        rest = after.clone();
        left = from.clone();
        again = Some((after, from));
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() || text.len() > LONGEST {
            Err(GlobError::Length)
        } else if text.chars().any(char::is_control) {
            Err(GlobError::Control)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    fn glob(text: &str) -> Glob {
        text.parse().unwrap()
    }

    #[test]
    fn matches_as_people_expect() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("gpt-*", "gpt-4.1", true),
            ("gpt-*", "xgpt-4", false),
            ("gpt-?", "gpt-4", true),
            ("gpt-?", "gpt-", false),
            ("*claude*", "anthropic/claude-sonnet", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "ü", true),
            ("auto", "auto", true),
            ("auto", "Auto", false),
        ] {
            assert_eq!(glob(pattern).matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn one_character_does_not_cover_any_text() {
        assert!(!glob("a?").covers(&glob("a*")));
        assert!(glob("a*").covers(&glob("a?")));
        assert!(glob("a?").covers(&glob("a?")));
        assert!(!glob("ab").covers(&glob("a?")));
    }

    /// The definition, without thought for time.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|from| naive(rest, &name[from..])),
            (['?', rest @ ..], [_, name @ ..]) => naive(rest, name),
            ([one, rest @ ..], [other, name @ ..]) => one == other && naive(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_as_defined(pattern in "[ab*?é]{1,8}", name in "[abé*?]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&name));
            prop_assert_eq!(glob(&pattern).matches(&name), expected);
        }

        /// Whatever fits the inner pattern fits one that covers it.
        #[test]
        fn cover_is_sound(outer in "[ab*?]{1,6}", inner in "[ab*?]{1,6}", name in "[ab]{0,8}") {
            let (outer, inner) = (glob(&outer), glob(&inner));
            if outer.covers(&inner) && inner.matches(&name) {
                prop_assert!(outer.matches(&name), "{outer:?} {inner:?} {name}");
            }
        }
    }
}
