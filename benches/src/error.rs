//! The one error of the benchmark: a sentence for the person who started it.

/// Anything that stops a measurement.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What a step of a measurement returns.
pub(crate) type Outcome<T> = Result<T, Fault>;
