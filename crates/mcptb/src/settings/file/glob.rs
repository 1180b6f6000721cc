//! Patterns for model names: `*` is any text, `?` is one character.
//!
//! Nothing else is special, since model names hold dots, slashes and brackets of their own.

use std::fmt;

/// The longest pattern, in bytes.
const LONGEST: usize = 256;

/// A pattern. Case matters, as in model names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    text: String,
}

impl Glob {
    /// Takes a pattern that is not empty, not too long, and printable.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let good = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
        good.then(|| Self { text: text.to_owned() })
    }

    /// Whether it fits the whole name. Takes time in the product of both lengths at worst.
    pub(crate) fn fits(&self, name: &str) -> bool {
        let mut pattern = self.text.chars();
        let mut rest = name.chars();
        // Where to go on when the last star has to take one more character.
        let mut again = None;
        loop {
            let mut next = rest.clone();
            let here = pattern.clone().next();
            match (here, next.next()) {
                (Some('*'), _) => {
                    pattern.next();
                    again = Some((pattern.clone(), rest.clone()));
                    continue;
                }
                (Some(wanted), Some(char)) if wanted == '?' || wanted == char => {
                    pattern.next();
                    rest = next;
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((after_star, taken)) = &mut again else { return false };
            if taken.next().is_none() {
                return false;
            }
            pattern = after_star.clone();
            rest = taken.clone();
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What holds for models by pattern, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByModel<T> {
    rules: Vec<(Glob, T)>,
}

impl<T> Default for ByModel<T> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl<T> ByModel<T> {
    pub(super) fn push(&mut self, pattern: Glob, rule: T) {
        self.rules.push((pattern, rule));
    }

    /// What holds for a model: the first pattern of the file that fits decides.
    #[cfg_attr(not(test), expect(dead_code, reason = "limits and costs are wired up later"))]
    pub(crate) fn first(&self, model: &str) -> Option<&T> {
        self.rules.iter().find(|(pattern, _)| pattern.fits(model)).map(|(_, rule)| rule)
    }

    /// All rules, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Glob, &T)> {
        self.rules.iter().map(|(pattern, rule)| (pattern, rule))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ByModel, Glob};

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

    #[test]
    fn the_first_that_fits_wins() {
        let mut rules = ByModel::default();
        for (at, pattern) in ["gpt-4.1", "gpt-4*", "*"].into_iter().enumerate() {
            rules.push(Glob::new(pattern).unwrap(), at);
        }
        assert_eq!(rules.first("gpt-4.1"), Some(&0));
        assert_eq!(rules.first("gpt-4o"), Some(&1));
        assert_eq!(rules.first("GPT-4o"), Some(&2));
        assert!(Glob::new("").is_none() && Glob::new("a\n").is_none());
    }

    proptest! {
        #[test]
        fn it_fits_as_defined(pattern in "[ab*?é]{1,8}", name in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let glob = Glob::new(&pattern).unwrap();
            prop_assert_eq!(glob.fits(&name), naive(&chars(&pattern), &chars(&name)));
        }
    }
}
