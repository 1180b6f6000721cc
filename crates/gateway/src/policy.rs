//! What the operator has set for all calls: prices, limits of models, how much is reserved.
//!
//! It is swapped whole when the configuration changes; a call sees one of them.

use model::ModelAlias;

use crate::amounts::Amounts;
use crate::budgets::Calendar;
use crate::keys::Glob;

/// What a multiplier of one is.
const ONCE: u128 = 1_000_000;
/// Pico-dollars in a nano-dollar.
const PICO: u128 = 1000;

/// The operator's settings for admission.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The calendar of budgets.
    pub calendar: Calendar,
    /// Output tokens that are reserved where a call asks for more, or for nothing.
    pub expected_output: u64,
    /// Whether all is reserved that a call may need, so that nothing overspends that the bridge can
    /// foresee.
    pub hard: bool,
    /// Output tokens of a call that asks for nothing, under `hard`.
    pub default_output: u64,
    /// Prices; the first pattern that fits counts.
    pub prices: Vec<(Glob, Price)>,
    /// Limits of models; the first pattern that fits counts.
    pub models: Vec<(Glob, ModelLimits)>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            calendar: Calendar::default(),
            expected_output: 4096,
            hard: false,
            default_output: 8192,
            prices: Vec::new(),
            models: Vec::new(),
        }
    }
}

/// What a model costs, in pico-dollars: a dollar for a million tokens is a million of them for one,
/// so every price with up to six decimals is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// A token read.
    pub input: u64,
    /// A token read from a cache.
    pub cached_input: u64,
    /// A token written.
    pub output: u64,
    /// Each call.
    pub per_request: u64,
    /// What of that is charged, in millionths: seats of a subscription cost less than the list.
    pub multiplier: u64,
}

/// What all callers together may do with a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u32>,
    /// Tokens, in and out, in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Calls at once.
    pub concurrency: Option<u32>,
}

/// Tokens of a call by what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read.
    pub input: u64,
    /// Read from a cache.
    pub cached_input: u64,
    /// Written.
    pub output: u64,
}

impl Tokens {
    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            input: self.input.saturating_add(more.input),
            cached_input: self.cached_input.saturating_add(more.cached_input),
            output: self.output.saturating_add(more.output),
        }
    }

    /// So many times all of it.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self {
            input: self.input.saturating_mul(count),
            cached_input: self.cached_input.saturating_mul(count),
            output: self.output.saturating_mul(count),
        }
    }
}

impl Price {
    /// The cost of a call in nano-dollars, rounded up.
    pub fn of(&self, requests: u64, tokens: Tokens) -> u64 {
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let by_token = part(tokens.input, self.input)
            .saturating_add(part(tokens.cached_input, self.cached_input))
            .saturating_add(part(tokens.output, self.output));
        let list = by_token.saturating_add(u128::from(requests) * u128::from(self.per_request));
        let charged = list.saturating_mul(u128::from(self.multiplier)).div_ceil(ONCE * PICO);
        u64::try_from(charged).unwrap_or(u64::MAX)
    }
}

impl Policy {
    /// What tokens of a model come to.
    pub fn amounts(&self, model: &str, requests: u64, tokens: Tokens) -> Amounts {
        let price = self.prices.iter().find(|(glob, _)| glob.matches(model));
        Amounts {
            requests,
            tokens: tokens.input.saturating_add(tokens.cached_input).saturating_add(tokens.output),
            cost: price.map_or(0, |(_, price)| price.of(requests, tokens)),
        }
    }

    /// What tokens come to while it is not known which model answers: at the price of the name that
    /// was asked for; at the dearest, where that name leaves the choice to the host or has no price.
    pub fn expected(&self, asked: &str, requests: u64, tokens: Tokens) -> Amounts {
        if self.has_price(asked) && !ModelAlias::means_auto(asked) {
            self.amounts(asked, requests, tokens)
        } else {
            self.most(asked, requests, tokens)
        }
    }

    /// The most that tokens come to, whichever model answers: a host chooses that itself, and the
    /// name that a caller gives may have no price or a low one.
    pub fn most(&self, asked: &str, requests: u64, tokens: Tokens) -> Amounts {
        let named = self.amounts(asked, requests, tokens);
        let dearest = self.prices.iter().map(|(_, price)| price.of(requests, tokens)).max();
        Amounts { cost: named.cost.max(dearest.unwrap_or(0)), ..named }
    }

    /// Whether a model has a price of its own.
    pub fn has_price(&self, model: &str) -> bool {
        self.prices.iter().any(|(glob, _)| glob.matches(model))
    }

    /// The limits of a model, with the pattern that they are counted under.
    pub fn model(&self, model: &str) -> Option<(&Glob, &ModelLimits)> {
        self.models
            .iter()
            .find(|(glob, _)| glob.matches(model))
            .map(|(glob, limits)| (glob, limits))
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, Price, Tokens};

    #[test]
    fn a_price_is_exact_and_rounds_up() {
        let dollars = 1_000_000;
        let price = Price {
            input: 5 * dollars / 2,
            cached_input: dollars / 4,
            output: 10 * dollars,
            per_request: 0,
            multiplier: 1_000_000,
        };
        let tokens = Tokens { input: 1000, cached_input: 0, output: 100 };
        assert_eq!(price.of(1, tokens), 2_500_000 + 1_000_000);
        let third = Price { multiplier: 330_000, ..price };
        assert_eq!(third.of(1, tokens), 1_155_000);
        let tiny = Price { input: 1, ..price };
        assert_eq!(tiny.of(1, Tokens { input: 1, ..Tokens::default() }), 1);
        let call = Price { per_request: 40_000_000_000, input: 0, output: 0, ..price };
        assert_eq!(call.of(2, tokens), 80_000_000);
        let huge = Price { input: u64::MAX, ..price };
        assert_eq!(huge.of(1, Tokens { input: u64::MAX, ..Tokens::default() }), u64::MAX);
    }

    #[test]
    fn the_first_pattern_counts() {
        let price = |input| Price {
            input,
            cached_input: 0,
            output: 0,
            per_request: 0,
            multiplier: 1_000_000,
        };
        let policy = Policy {
            prices: vec![
                ("gpt-4*".parse().unwrap(), price(1_000)),
                ("*".parse().unwrap(), price(2_000)),
            ],
            ..Policy::default()
        };
        let tokens = Tokens { input: 10, cached_input: 3, output: 4 };
        let amounts = policy.amounts("gpt-4.1", 1, tokens);
        assert_eq!((amounts.requests, amounts.tokens, amounts.cost), (1, 17, 10));
        assert_eq!(policy.amounts("auto", 1, tokens).cost, 20);
    }
}
