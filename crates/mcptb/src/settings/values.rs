//! Values with a syntax of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use dialects::prompted_tools::NonceSecret;
use model::CallId;

/// A time in seconds, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    Seconds(Duration),
    Unbounded,
}

impl Wait {
    /// The time, within a bound.
    pub(crate) fn within(self, bound: Duration) -> Duration {
        match self {
            Self::Seconds(time) => time.min(bound),
            Self::Unbounded => bound,
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.trim().to_ascii_lowercase();
        if matches!(word.as_str(), "none" | "inf" | "infinity" | "unlimited") {
            return Ok(Self::Unbounded);
        }
        match word.parse::<f64>() {
            Ok(0.0) => Ok(Self::Unbounded),
            Ok(seconds) if seconds.is_finite() && seconds > 0.0 && seconds <= 604_800.0 => {
                Ok(Self::Seconds(Duration::from_secs_f64(seconds)))
            }
            _ => Err("seconds up to a week, or none".to_owned()),
        }
    }
}

/// How often the warm-up may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WarmUp(pub(crate) u32);

impl WarmUp {
    /// Tries where it is just on.
    pub(crate) const DEFAULT_TRIES: u32 = 3;
}

impl FromStr for WarmUp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Self(Self::DEFAULT_TRIES)),
            "off" | "false" | "no" => Ok(Self(0)),
            number => match number.parse() {
                Ok(tries) if tries <= 30 => Ok(Self(tries)),
                _ => Err("on, off, or a number of tries up to 30".to_owned()),
            },
        }
    }
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| "an IP address such as 127.0.0.1, 0.0.0.0 or ::1".to_owned())
}

/// A priority of `modelPreferences`.
pub(super) fn priority(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(priority) if (0.0..=1.0).contains(&priority) => Ok(priority),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

/// On or off.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("1 or 0".to_owned()),
    }
}

/// An origin. One that no browser would ever send would never match.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let usual_port = (text.starts_with("http://") && text.ends_with(":80"))
        || (text.starts_with("https://") && text.ends_with(":443"));
    let upper_case = text.bytes().any(|byte| byte.is_ascii_uppercase());
    let only_host = text
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.is_empty() && !rest.contains(['/', '*', '?', '#', ' ']));
    if text == "null" || (only_host && !upper_case && !usual_port) {
        return Ok(text.to_owned());
    }
    Err("what a browser sends: scheme and host in lower case, without a path, a wildcard or the \
         usual port, such as https://app.example.com"
        .to_owned())
}

/// A fresh secret for the marks of prompted tools, with the 124 random bits of two call ids.
pub(super) fn fresh_nonce_secret() -> NonceSecret {
    let id = || CallId::generate().hex().to_string();
    let mut bytes = [0; 32];
    // The first half of an id is mostly the time.
    let random =
        id().into_bytes().into_iter().skip(16).chain(id().into_bytes().into_iter().skip(16));
    for (byte, from) in bytes.iter_mut().zip(random) {
        *byte = from;
    }
    NonceSecret::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Wait, WarmUp, address, origin, priority, switch};
    use std::time::Duration;

    #[test]
    fn timeouts_are_the_prototypes() {
        for unbounded in ["none", "None", "0", "inf", "0.0"] {
            assert_eq!(unbounded.parse(), Ok(Wait::Unbounded), "{unbounded}");
        }
        assert_eq!("1.5".parse(), Ok(Wait::Seconds(Duration::from_millis(1500))));
        for wrong in ["-1", "soon", "", "NaN", "1e9"] {
            assert!(wrong.parse::<Wait>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn warm_up_takes_words_and_numbers() {
        assert_eq!("on".parse(), Ok(WarmUp(3)));
        assert_eq!("off".parse(), Ok(WarmUp(0)));
        assert_eq!("0".parse(), Ok(WarmUp(0)));
        assert_eq!("1".parse(), Ok(WarmUp(1)));
        assert!("31".parse::<WarmUp>().is_err());
    }

    #[test]
    fn addresses_priorities_and_switches() {
        assert_eq!(address("LOCALHOST").map(|ip| ip.is_loopback()), Ok(true));
        assert_eq!(address("[::1]").map(|ip| ip.is_ipv6()), Ok(true));
        assert!(address("example.com").is_err());
        assert_eq!(priority("0.5"), Ok(0.5));
        assert!(priority("1.1").is_err() && priority("NaN").is_err());
        assert_eq!((switch("1"), switch("off")), (Ok(true), Ok(false)));
        assert!(switch("maybe").is_err());
    }
    #[test]
    fn only_origins_that_can_match_are_taken() {
        for good in ["https://a.example", "http://localhost:3000", "vscode-webview://x1", "null"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "http://a.com/",
            "HTTP://b.com",
            "http://b.com:80",
            "https://b.com:443",
            "b.com",
            "",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
