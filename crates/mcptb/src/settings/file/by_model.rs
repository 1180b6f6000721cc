//! What holds for models by the pattern of their names.

use gateway::keys::Glob;

/// Rules by pattern, in the order of the file: the first that fits decides.
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

    /// What holds for a model.
    #[cfg(test)]
    pub(crate) fn first(&self, model: &str) -> Option<&T> {
        self.rules.iter().find(|(pattern, _)| pattern.matches(model)).map(|(_, rule)| rule)
    }

    /// All rules, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Glob, &T)> {
        self.rules.iter().map(|(pattern, rule)| (pattern, rule))
    }
}
