//! Selecting the relay of a new connection: a random one of those that are not clearly farther away than others.

use std::time::Duration;

use rand::Rng;

/// Minimum deviation assumed between round-trip times, so that tiny differences do not exclude a relay.
const MIN_DEVIATION: Duration = Duration::from_millis(2);

/// Selects one of `relays` by their smoothed round-trip times.
pub(crate) fn select<T: Copy>(relays: &[(T, Duration)], rng: &mut impl Rng) -> Option<T> {
    let round_trips: Vec<_> = relays.iter().map(|(_, round_trip)| *round_trip).collect();
    let limit = threshold(&round_trips)?;
    let eligible: Vec<_> = relays.iter().filter(|(_, round_trip)| *round_trip <= limit).collect();
    if eligible.is_empty() {
        return None;
    }
    eligible.get(rng.random_range(0..eligible.len())).map(|(relay, _)| *relay)
}

/// Adds a sample to the average. The first is used as it is, later ones have a weight of one eighth.
pub(crate) fn smooth(average: Option<Duration>, sample: Duration) -> Duration {
    average.map_or(sample, |average| average * 7 / 8 + sample / 8)
}

/// The maximum round-trip time of a selectable relay.
fn threshold(round_trips: &[Duration]) -> Option<Duration> {
    let nearest = *round_trips.iter().min()?;
    if round_trips.len() <= 2 {
        return Some(nearest * 3 / 2);
    }
    let middle = median(round_trips)?;
    let deviations: Vec<_> = round_trips.iter().map(|round_trip| round_trip.abs_diff(middle)).collect();
    Some(middle + 3 * median(&deviations)?.max(MIN_DEVIATION))
}

fn median(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((*sorted.get(sorted.len() / 2 - 1)? + upper) / 2)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn thresholds_are_as_specified() {
        for (round_trips, limit) in [
            (ms(&[40]), 60),
            (ms(&[40, 60]), 60),
            (ms(&[30, 35, 200]), 50),
            (ms(&[30, 30, 30, 31]), 36),
            (ms(&[30, 40, 50, 60]), 75),
        ] {
            assert_eq!(threshold(&round_trips), Some(Duration::from_millis(limit)), "{round_trips:?}");
        }
        assert_eq!(threshold(&[]), None);
    }

    #[test]
    fn sample_changes_the_average_by_one_eighth() {
        let first = smooth(None, Duration::from_millis(40));
        assert_eq!(first, Duration::from_millis(40));
        assert_eq!(smooth(Some(first), Duration::from_millis(200)), Duration::from_millis(60));
    }

    #[test]
    fn near_relays_are_selected_and_far_ones_never() {
        let relays: Vec<_> = ms(&[30, 35, 200]).into_iter().enumerate().collect();
        let mut rng = StdRng::seed_from_u64(1);
        let chosen: std::collections::BTreeSet<_> = (0..100).filter_map(|_| select(&relays, &mut rng)).collect();
        assert_eq!(chosen.into_iter().collect::<Vec<_>>(), [0, 1]);
    }
}
