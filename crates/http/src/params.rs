//! The mode of parameters that cannot be carried, as a caller sets it for one request.

use http::{HeaderMap, HeaderName};
use model::{Failure, FailureKind, ParamsMode};

/// Sets the mode for one request.
const PARAMS: HeaderName = HeaderName::from_static("x-mcptb-params");

/// Reads the mode of a request: the header's, else the bridge's own.
///
/// # Errors
///
/// `BadRequest` naming the header where its word is unknown, or where it comes twice with two
/// words: whoever asks for a mode relies on it.
pub(crate) fn params_mode(headers: &HeaderMap, default: ParamsMode) -> Result<ParamsMode, Failure> {
    let mut asked = None;
    for value in headers.get_all(PARAMS) {
        let mode = value.to_str().ok().and_then(ParamsMode::from_word);
        match (mode, asked) {
            (Some(mode), None) => asked = Some(mode),
            (Some(mode), Some(known)) if mode == known => {}
            _ => {
                let message = "The header x-mcptb-params must be one of strict, default and \
                               lenient.";
                let failure = Failure::new(FailureKind::BadRequest, message);
                return Err(failure.with_param(PARAMS.as_str()));
            }
        }
    }
    Ok(asked.unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use model::{FailureKind, ParamsMode};

    use super::{PARAMS, params_mode};

    fn read(values: &[&'static [u8]]) -> Result<ParamsMode, (FailureKind, Option<String>)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PARAMS, HeaderValue::from_bytes(value).expect("a header value"));
        }
        params_mode(&headers, ParamsMode::Strict).map_err(|failure| (failure.kind, failure.param))
    }

    #[test]
    fn the_header_wins_and_a_doubtful_one_is_refused() {
        assert_eq!(read(&[]), Ok(ParamsMode::Strict));
        assert_eq!(read(&[b" lenient "]), Ok(ParamsMode::Lenient));
        assert_eq!(read(&[b"default", b"default"]), Ok(ParamsMode::Default));
        let refused = Err((FailureKind::BadRequest, Some("x-mcptb-params".to_owned())));
        for bad in [[b"".as_slice()], [b"Lenient"], [b"strict, lenient"], [b"\xff"]] {
            assert_eq!(read(&bad), refused);
        }
        assert_eq!(read(&[b"strict", b"lenient"]), refused);
    }
}
