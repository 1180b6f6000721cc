//! Values that must not be printed.

use std::fmt;

/// A value that prints as `****` everywhere.
///
/// There is one way out, [`Secret::expose`], so that a search for that word finds every use.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Borrows the value. The caller must not print it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn never_prints() {
        let secret = Secret::new("correct horse battery staple");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "**** **** Some(****)");
        assert_eq!(*secret.expose(), "correct horse battery staple");
    }
}
