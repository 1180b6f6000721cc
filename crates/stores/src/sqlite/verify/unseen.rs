//! What a check cannot see, in sentences.

use std::fmt::Display;

use super::super::journal::Tip;

/// Whatever it finds.
pub(super) fn always(checkpoint: Result<&Option<Tip>, &impl Display>) -> Vec<String> {
    let key = "Whoever has the journal's key (the file journal.key) can write a journal that looks \
        right.";
    let end = match checkpoint {
        Ok(Some(tip)) => format!(
            "Entries after the last checkpoint (entry {}) could have been cut off the end, and a whole \
             directory could have been put back to an earlier state.",
            tip.seq,
        ),
        Ok(None) => "There is no checkpoint: entries could have been cut off the end.".to_owned(),
        Err(error) => format!(
            "The checkpoint is not readable ({error}): entries could have been cut off the end.",
        ),
    };
    let redo = "After a crash, what was in the redo log only (the files redo.0 and redo.1) could have \
        been cut off before the next start.";
    let unsealed = "Nothing seals the counts of refusals, when keys were last used, and the indexes of \
        the database: whoever changes those changes what is shown of refusals and keys, and which \
        calls a filter finds.";
    let texts = "The index of texts (the file text.db) is not looked at: whoever changes it changes \
        what a search finds, not the record.";
    vec![key.to_owned(), end, redo.to_owned(), unsealed.to_owned(), texts.to_owned()]
}

/// Where retention went on during the check, or has run before it.
pub(super) fn of_retention(moved: bool, retired: bool) -> Option<String> {
    let what = if moved {
        "Retention went on meanwhile: calls, settlements, keys and tenants that the journal does not \
         know were not looked for, and the ledger was not added up."
    } else if retired {
        "What retention took is not there to compare with: keys and tenants that did not change \
         since, the ledger, and calls from before that were not settled then: how they began, and \
         all of those that still are not."
    } else {
        return None;
    };
    Some(what.to_owned())
}
