//! Stop sequences, enforced by us because most hosts ignore them.

/// Finds the stop sequence that text runs into first.
///
/// Returns the byte offset where the text must be cut and the sequence that was hit. Where two
/// begin at the same place the one listed first wins. Empty sequences are never hit.
pub fn first_stop<'a>(text: &str, stops: &'a [String]) -> Option<(usize, &'a str)> {
    let mut first: Option<(usize, &'a str)> = None;
    for stop in stops.iter().filter(|stop| !stop.is_empty()) {
        if let Some(offset) = text.find(stop.as_str())
            && first.is_none_or(|(best, _)| offset < best)
        {
            first = Some((offset, stop));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::first_stop;

    fn stops(list: &[&str]) -> Vec<String> {
        list.iter().map(|stop| (*stop).to_owned()).collect()
    }

    #[test]
    fn the_earliest_wins_and_ties_go_to_the_first_listed() {
        assert_eq!(first_stop("one END two STOP", &stops(&["STOP", "END"])), Some((4, "END")));
        assert_eq!(first_stop("abc", &stops(&["b", "bc"])), Some((1, "b")));
        assert_eq!(first_stop("abc", &stops(&["bc", "b"])), Some((1, "bc")));
        assert_eq!(first_stop("abc", &stops(&["", "x"])), None);
        assert_eq!(first_stop("中文END", &stops(&["END"])), Some((6, "END")));
    }
}
