//! What every store has to do: one story for each behaviour, for any engine.

use std::sync::Arc;

use gateway::keys::UnixMillis;
use gateway::store::{CallFilter, CallRow, Store};

pub(crate) mod calls;
pub(crate) mod changes;
pub(crate) mod laws;
pub(crate) mod queries;
pub(crate) mod spending;
pub(crate) mod texts;

/// All time.
pub(crate) const ALWAYS: std::ops::Range<UnixMillis> = 0..UnixMillis::MAX;

/// Where the records of a store lie.
pub(crate) trait Place {
    /// Opens the store that lies here. No other one may be open here.
    fn open(&self) -> Arc<dyn Store>;
}

/// Ends a store and opens it again.
pub(crate) async fn reopen(place: &impl Place, store: Arc<dyn Store>) -> Arc<dyn Store> {
    store.shut_down().await;
    drop(store);
    place.open()
}

/// Every call there is, newest first.
pub(crate) async fn all(store: &Arc<dyn Store>) -> Vec<CallRow> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.calls(CallFilter::default(), after, 1000).await.unwrap();
        all.extend(page.calls);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// Runs every story of the contract, each at a place of its own.
macro_rules! contract {
    ($place:expr; $($group:ident: $($story:ident)+;)+) => {
        $($(
            #[tokio::test]
            async fn $story() {
                crate::contract::$group::$story(&$place).await;
            }
        )+)+
    };
}

/// Every story of the contract for the engine at `$place`, an expression that makes a new place.
macro_rules! every_story {
    ($place:expr) => {
        crate::contract::contract! {
            $place;
            calls:
                a_call_is_told_in_two_halves
                a_call_without_bodies_or_key_is_kept_too
                a_call_is_opened_and_closed_once
                a_refused_call_has_both_halves_and_spends_nothing
                what_is_queued_is_written_before_the_end
                nothing_is_taken_after_the_end
                the_journal_of_all_this_is_whole;
            spending:
                spending_counts_in_the_minute_of_admission
                spending_ahead_of_the_clock_is_told_by_the_minute
                a_call_is_settled_once
                a_sandbox_call_spends_what_it_is_said_to
                an_overrun_that_is_heard_of_late_is_told
                what_a_crash_cut_off_is_charged_as_reserved
                loading_again_leaves_running_calls_alone;
            changes:
                keys_and_tenants_come_back_as_they_were
                what_is_there_cannot_be_made_and_what_is_not_cannot_be_changed
                the_last_use_of_a_key_is_known;
            queries:
                pages_follow_each_other_to_the_end
                ends_follow_each_other_over_a_restart usage_is_summed
                refusals_are_shown_as_counted;
            texts:
                calls_are_found_by_their_words
                words_are_found_as_people_write_them
                signs_in_a_search_are_no_syntax
                a_search_without_words_is_refused
                calls_that_end_late_are_found_in_their_place
                what_is_not_searchable_yet_is_told;
        }
    };
}

pub(crate) use {contract, every_story};
