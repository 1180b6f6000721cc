//! Order statistics and small conversions.

use std::time::Duration;

/// The value below which the given share (0 to 1) of a sorted list lies; 0 for an empty list.
pub(crate) fn percentile(sorted: &[u64], share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index: a rank within the list, never negative"
    )]
    let rank = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(rank).or(sorted.last()).copied().unwrap_or(0)
}

/// The middle of some figures, the mean of the two middle ones when their count is even; NaN when
/// there are none.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    if sorted.len().is_multiple_of(2) {
        let lower = middle.checked_sub(1).and_then(|below| sorted.get(below)).copied();
        return f64::midpoint(lower.unwrap_or(f64::NAN), upper);
    }
    upper
}

/// A count as a figure.
pub(crate) fn figure(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^52")]
    let figure = count as f64;
    figure
}

/// A time in whole nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_name_a_value_of_the_list() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 0.5), 50);
        assert_eq!(percentile(&hundred, 0.99), 99);
        assert_eq!(percentile(&hundred, 1.0), 100);
        assert_eq!(percentile(&[7], 0.99), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }
}
