//! The query string of the few routes that read one.

/// The value of a parameter, decoded; the first one counts. Bytes that are no UTF-8 match nothing.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

/// Decodes `%2F` and `+`; what is no escape stays as it is.
fn decode(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = match (escaped, first) {
            (Some(escaped), _) => escaped,
            (None, b'+') => (b' ', tail),
            (None, byte) => (*byte, tail),
        };
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::parameter;

    #[test]
    fn values_are_decoded() {
        let query = "a=1&b=copilot%2Fgpt%2d4&b=2&c&d=%&e=%g1+%ff&f=";
        let read = |name| parameter(query, name);
        assert_eq!(read("a").as_deref(), Some("1"));
        assert_eq!(read("b").as_deref(), Some("copilot/gpt-4"));
        assert_eq!(read("c"), None);
        assert_eq!(read("d").as_deref(), Some("%"));
        assert_eq!(read("e").as_deref(), Some("%g1 \u{fffd}"));
        assert_eq!(read("f").as_deref(), Some(""));
        assert_eq!(parameter("", "a"), None);
    }
}
