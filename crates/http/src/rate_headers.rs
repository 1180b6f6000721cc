//! What is left of the limits, in the headers that each vendor's clients read.
//!
//! `OpenAI` writes times as Go durations (`6m0s`), Anthropic as points in time (RFC 3339).

use std::time::{Duration, SystemTime};

use gateway::admission::{RateReport, Rates};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::Dialect;

/// Adds the headers of the limits that there are.
pub(crate) fn tell(headers: &mut HeaderMap, dialect: Dialect, rates: &Rates) {
    for (unit, report) in [("requests", rates.requests), ("tokens", rates.tokens)] {
        let Some(RateReport { limit, remaining, reset }) = report else { continue };
        let reset = Duration::from_millis(reset);
        let (prefix, suffix, reset) = match dialect {
            Dialect::AnthropicMessages => {
                let at = SystemTime::now() + reset;
                let at = humantime::format_rfc3339_seconds(at).to_string();
                ("anthropic-ratelimit-", unit, at)
            }
            Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                ("x-ratelimit-", unit, go_duration(reset))
            }
        };
        for (what, value) in
            [("limit", limit.to_string()), ("remaining", remaining.to_string()), ("reset", reset)]
        {
            let name = match dialect {
                Dialect::AnthropicMessages => format!("{prefix}{suffix}-{what}"),
                Dialect::OpenAiChat | Dialect::OpenAiResponses => {
                    format!("{prefix}{what}-{suffix}")
                }
            };
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// A duration as Go prints it: `0s`, `120ms`, `1.5s`, `6m0s`.
fn go_duration(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if millis > 0 => format!("{millis}ms"),
        (0, 0, seconds) => format!("{seconds}{fraction}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
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
            (60_000, "1m0s"),
            (360_020, "6m0.02s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn each_vendor_has_names_of_its_own() {
        let report = RateReport { limit: 60, remaining: 3, reset: 1500 };
        let rates = Rates { requests: Some(report), tokens: None };
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::OpenAiChat, &rates);
        assert_eq!(headers["x-ratelimit-remaining-requests"], "3");
        assert_eq!(headers["x-ratelimit-reset-requests"], "1.5s");
        let mut headers = HeaderMap::new();
        tell(&mut headers, Dialect::AnthropicMessages, &rates);
        assert_eq!(headers["anthropic-ratelimit-requests-limit"], "60");
        let reset = headers["anthropic-ratelimit-requests-reset"].to_str().unwrap();
        assert!(humantime::parse_rfc3339(reset).is_ok(), "{reset}");
        assert_eq!(headers.len(), 3);
    }
}
