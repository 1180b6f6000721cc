//! `read_request(write_request(r)) == r`, up to the losses that writing names.

use model::{CompletionRequest, Dialect};
use proptest::prelude::*;

use crate::forget::{forget, in_its_words};
use crate::generate;
use crate::same::meant;
use crate::{read_request, write_request};

fn holds(dialect: Dialect, request: CompletionRequest) -> Result<(), TestCaseError> {
    let (body, losses) = write_request(dialect, &request);
    let shown = || String::from_utf8_lossy(&body).into_owned();
    let again = read_request(dialect, &body)
        .map_err(|failure| TestCaseError::fail(format!("{failure:?} of {}", shown())))?;
    let wanted = meant(in_its_words(dialect, forget(dialect, losses, request)));
    let found = meant(in_its_words(dialect, again));
    prop_assert_eq!(found, wanted, "losses {}, written {}", losses, shown());
    Ok(())
}

proptest! {
    #[test]
    fn chat(request in generate::request(Dialect::OpenAiChat)) {
        holds(Dialect::OpenAiChat, request)?;
    }

    #[test]
    fn responses(request in generate::request(Dialect::OpenAiResponses)) {
        holds(Dialect::OpenAiResponses, request)?;
    }

    #[test]
    fn messages(request in generate::request(Dialect::AnthropicMessages)) {
        holds(Dialect::AnthropicMessages, request)?;
    }
}
