//! Inline media of the dialects: data URLs and base64 text, checked, and decoded only where they are
//! plain text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::MediaSource;

/// Why inline media is refused; ends a sentence that begins with the field.
pub(crate) type Reason = &'static str;

/// Reads a URL: `data:` becomes inline bytes, `http:` and `https:` stay URLs.
///
/// `family` is what the MIME type must begin with (`image/`), empty for any.
pub(crate) fn read_url(mut url: String, family: &str) -> Result<MediaSource, Reason> {
    let scheme = url.get(..8).unwrap_or(&url).to_ascii_lowercase();
    if scheme.starts_with("http://") || scheme == "https://" {
        return Ok(MediaSource::Url(url));
    }
    if !scheme.starts_with("data:") {
        return Err("expected a data: URL with base64 or an http(s) URL");
    }
    let Some(comma) = memchr::memchr(b',', url.as_bytes()) else {
        return Err("the data: URL has no comma before its bytes");
    };
    let head = url.get(5..comma).unwrap_or_default().to_ascii_lowercase();
    let Some(mime) = head.strip_suffix(";base64") else {
        return Err("the data: URL must carry base64");
    };
    let mime = mime.split(';').next().unwrap_or_default().trim().to_owned();
    url.drain(..=comma);
    read_base64(mime, url, family)
}

/// Checks a MIME type and base64 text; white space inside is removed, missing padding added.
pub(crate) fn read_base64(
    mut mime: String,
    mut base64: String,
    family: &str,
) -> Result<MediaSource, Reason> {
    mime.make_ascii_lowercase();
    if !is_mime(&mime) || !mime.starts_with(family) {
        return Err(match family {
            "image/" => "expected an image MIME type such as image/png",
            _ => "expected a MIME type such as application/pdf",
        });
    }
    if base64.bytes().any(|byte| byte.is_ascii_whitespace()) {
        base64.retain(|c| !c.is_ascii_whitespace());
    }
    let digits = base64.trim_end_matches('=');
    let padding = base64.len() - digits.len();
    if digits.is_empty() || padding > 2 || !is_base64(digits.as_bytes()) {
        return Err("the bytes are not standard base64");
    }
    match (digits.len() % 4, padding) {
        (0, 0) | (2, 2) | (3, 1) => {}
        (2, 0) => base64.push_str("=="),
        (3, 0) => base64.push('='),
        _ => return Err("the base64 text has an impossible length"),
    }
    Ok(MediaSource::Inline { mime, base64 })
}

/// Encodes plain text, so that it can stand where files do.
pub(crate) fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

/// Decodes text in base64 that was read by [`read_base64`]; `None` where the bytes are no text.
pub(crate) fn decode(base64: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(base64).ok()?).ok()
}

fn is_mime(mime: &str) -> bool {
    mime.split_once('/').is_some_and(|(family, kind)| !family.is_empty() && !kind.is_empty())
        && mime.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte))
}

#[expect(clippy::needless_bitwise_bool, reason = "without branches the loop is vectorized")]
fn is_base64(digits: &[u8]) -> bool {
    // Chunks without a branch per byte: images are megabytes.
    digits.chunks(64).all(|chunk| {
        !chunk.iter().fold(false, |bad, byte| {
            bad | !(byte.is_ascii_alphanumeric() | (*byte == b'+') | (*byte == b'/'))
        })
    })
}

#[cfg(test)]
mod tests {
    use model::MediaSource;

    use super::{decode, encode, read_base64, read_url};

    fn inline(mime: &str, base64: &str) -> MediaSource {
        MediaSource::Inline { mime: mime.to_owned(), base64: base64.to_owned() }
    }

    #[test]
    fn data_urls_become_inline_bytes() {
        let read = |url: &str| read_url(url.to_owned(), "image/");
        assert_eq!(read("data:image/PNG;base64,iVBO Rw0K\n"), Ok(inline("image/png", "iVBORw0K")));
        assert_eq!(
            read("data:image/svg+xml;charset=utf-8;base64,QQ"),
            Ok(inline("image/svg+xml", "QQ=="))
        );
        assert_eq!(read("https://a/b.png"), Ok(MediaSource::Url("https://a/b.png".to_owned())));
        for bad in [
            "data:image/png,raw",
            "data:image/png;base64,",
            "data:image/png;base64,A",
            "data:image/png;base64,AA-_",
            "data:image/png;base64,A=AA",
            "data:application/pdf;base64,AAAA",
            "data:;base64,AAAA",
            "data:image/png",
            "file:///etc/passwd",
            "é",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn encodes_and_checks() {
        for (text, base64) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode(text), base64);
            assert_eq!(decode(base64).as_deref(), Some(text));
        }
        for not_text in ["/w==", "Zm8", "Zh==", "Z", "Zg==Zg=="] {
            assert_eq!(decode(not_text), None, "{not_text}");
        }
        assert!(read_base64("text/plain".to_owned(), encode("雪 é"), "").is_ok());
    }
}
