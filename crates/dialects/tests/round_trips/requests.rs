//! `read_request(write_request(r)) == r`, up to the losses that writing names.

use std::collections::BTreeSet;

use model::{CompletionRequest, Dialect};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::forget::{forget, in_its_words};
use crate::generate;
use crate::same::meant;
use crate::{DIALECTS, read_request, write_request};

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

/// The losses that `docs/wire/upstreams.md` names for a dialect.
fn documented(dialect: Dialect) -> BTreeSet<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wire/upstreams.md");
    let page = std::fs::read_to_string(page).unwrap();
    let column = match dialect {
        Dialect::OpenAiChat => 2,
        Dialect::OpenAiResponses => 3,
        Dialect::AnthropicMessages => 4,
    };
    let (_, table) = page.split_once("| loss | Chat | Responses | Messages |").unwrap();
    let rows = table.lines().take_while(|line| line.is_empty() || line.starts_with('|'));
    let rows = rows.filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let named = cells.filter(|cells| cells.get(column).is_some_and(|cell| !cell.is_empty()));
    named.filter_map(|cells| cells.get(1).map(|name| name.trim_matches('`').to_owned())).collect()
}

#[test]
fn the_losses_of_a_dialect_are_those_of_its_column() {
    for dialect in DIALECTS {
        let mut found = BTreeSet::new();
        // Always the same requests, so that what is found does not depend on luck.
        let mut runner = TestRunner::deterministic();
        let requests = generate::request(dialect);
        for _ in 0..400 {
            let request = requests.new_tree(&mut runner).unwrap().current();
            let (_, losses) = write_request(dialect, &request);
            found.extend(losses.iter().map(|loss| loss.as_str().to_owned()));
        }
        assert_eq!(found, documented(dialect), "{dialect}");
    }
}
