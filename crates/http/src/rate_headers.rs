//! What is left of the limits, in the headers that each vendor's clients read.
//!
//! `OpenAI` writes times as Go durations (`6m0s`), Anthropic as points in time (RFC 3339).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gateway::admission::{RateReport, Rates};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Dialect;

/// Room for the values of one limit.
const VALUES: usize = 64;

/// The names of one limit.
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

impl Names {
    const fn new(limit: &'static str, remaining: &'static str, reset: &'static str) -> Self {
        Self {
            limit: HeaderName::from_static(limit),
            remaining: HeaderName::from_static(remaining),
            reset: HeaderName::from_static(reset),
        }
    }
}

/// Adds the headers of the limits that there are.
pub(crate) fn tell(headers: &mut HeaderMap, dialect: Dialect, rates: &Rates) {
    if let Some(report) = &rates.requests {
        let names = match dialect {
            Dialect::AnthropicMessages => {
                const {
                    Names::new(
                        "anthropic-ratelimit-requests-limit",
                        "anthropic-ratelimit-requests-remaining",
                        "anthropic-ratelimit-requests-reset",
                    )
                }
            }
            Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                const {
                    Names::new(
                        "x-ratelimit-limit-requests",
                        "x-ratelimit-remaining-requests",
                        "x-ratelimit-reset-requests",
                    )
                }
            }
        };
        tell_one(headers, dialect, names, report);
    }
    if let Some(report) = &rates.tokens {
        let names = match dialect {
            Dialect::AnthropicMessages => {
                const {
                    Names::new(
                        "anthropic-ratelimit-tokens-limit",
                        "anthropic-ratelimit-tokens-remaining",
                        "anthropic-ratelimit-tokens-reset",
                    )
                }
            }
            Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                const {
                    Names::new(
                        "x-ratelimit-limit-tokens",
                        "x-ratelimit-remaining-tokens",
                        "x-ratelimit-reset-tokens",
                    )
                }
            }
        };
        tell_one(headers, dialect, names, report);
    }
}

fn tell_one(headers: &mut HeaderMap, dialect: Dialect, names: Names, report: &RateReport) {
    // The values lie in one piece of memory.
    let mut text = Vec::with_capacity(VALUES);
    text.extend_from_slice(itoa::Buffer::new().format(report.limit).as_bytes());
    let limit = text.len();
    text.extend_from_slice(itoa::Buffer::new().format(report.remaining).as_bytes());
    let remaining = text.len();
    let reset = Duration::from_millis(report.reset);
    match dialect {
        Dialect::AnthropicMessages => {
            let at = humantime::format_rfc3339_seconds(SystemTime::now() + reset);
            text.extend_from_slice(at.to_string().as_bytes());
        }
        Dialect::OpenAiChat | Dialect::OpenAiResponses => go_duration(&mut text, reset),
    }
    let text = Bytes::from(text);
    for (name, place) in [
        (names.limit, 0..limit),
        (names.remaining, limit..remaining),
        (names.reset, remaining..text.len()),
    ] {
        if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(place)) {
            headers.insert(name, value);
        }
    }
}

/// Adds a duration as Go prints it: `0s`, `120ms`, `1.5s`, `6m0s`.
fn go_duration(text: &mut Vec<u8>, time: Duration) {
    let (seconds, millis) = (time.as_secs(), u64::from(time.subsec_millis()));
    let mut push = |number, unit: &[u8]| {
        text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        text.extend_from_slice(unit);
    };
    if seconds == 0 && millis > 0 {
        push(millis, b"ms");
        return;
    }
    if seconds >= 3600 {
        push(seconds / 3600, b"h");
    }
    if seconds >= 60 {
        push(seconds / 60 % 60, b"m");
    }
    push(seconds % 60, b"");
    if millis > 0 {
        text.push(b'.');
        // The digits behind the one are three.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(1000 + millis).as_bytes();
        text.extend_from_slice(digits.get(1..).unwrap_or_default());
        while text.pop_if(|digit| *digit == b'0').is_some() {}
    }
    text.push(b's');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for (millis, text) in [
            (0, "0s"),
            (120, "120ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (360_020, "6m0.02s"),
            (3_600_000, "1h0m0s"),
            (3_723_450, "1h2m3.45s"),
        ] {
            let mut written = Vec::new();
            go_duration(&mut written, Duration::from_millis(millis));
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn each_vendor_has_names_of_its_own() {
        let report = RateReport { limit: 60, remaining: 3, reset: 1500 };
        let rates = Rates { requests: Some(report), tokens: None };
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::OpenAiChat, &rates);
        assert_eq!(headers["x-ratelimit-limit-requests"], "60");
        assert_eq!(headers["x-ratelimit-remaining-requests"], "3");
        assert_eq!(headers["x-ratelimit-reset-requests"], "1.5s");
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::AnthropicMessages, &rates);
        assert_eq!(headers["anthropic-ratelimit-requests-limit"], "60");
        let reset = headers["anthropic-ratelimit-requests-reset"].to_str().unwrap();
        assert!(humantime::parse_rfc3339(reset).is_ok(), "{reset}");
        assert_eq!(headers.len(), 3);
        let rates = Rates { requests: None, tokens: Some(report) };
        for (dialect, names) in [
            (Dialect::OpenAiResponses, ["limit-tokens", "remaining-tokens", "reset-tokens"]),
            (Dialect::AnthropicMessages, ["tokens-limit", "tokens-remaining", "tokens-reset"]),
        ] {
            let prefix = match dialect {
                Dialect::AnthropicMessages => "anthropic-ratelimit",
                _ => "x-ratelimit",
            };
            let mut headers = HeaderMap::new();
            tell(&mut headers, dialect, &rates);
            let there: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(there, names.map(|name| format!("{prefix}-{name}")));
        }
    }
}
