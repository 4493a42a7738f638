//! A small day of what `cargo run --example simulate` shows.

#[path = "../examples/simulate/day.rs"]
mod day;

use std::time::Duration;

use day::{DAY, Day, SLOTS, TENANTS, mean};

const JOBS: usize = 1_200;

#[test]
fn in_a_days_work_all_is_served_bookings_are_kept_and_many_models_come_back_from_memory() {
    let run = |keeps: bool| {
        let mut day = Day::new([10, 24, JOBS], keeps);
        // The longest job, and what loads and unloads take.
        let late = Duration::from_secs_f64(mean([10, JOBS]) * 6.0 + 200.0);
        let [kept, at_last] = day.run(late);
        println!(
            "{keeps}: {} of {} bookings kept from their beginning, {} refused, {} loads, {} of them warm, {} tenants, {} slots",
            kept,
            day.booked.len(),
            day.refused,
            day.fleet.loads,
            day.fleet.warm_loads,
            TENANTS,
            SLOTS
        );
        assert_eq!((day.fleet.open(), day.fleet.done.len()), (0, JOBS));
        assert!(!day.booked.is_empty());
        assert_eq!(at_last, day.booked.len(), "what was booked is there once what ran before has ended");
        let last = day.fleet.done.iter().map(|done| done.ended).max().expect("jobs ended");
        assert!(last < 2 * DAY);
        (day.fleet.loads, day.fleet.warm_loads)
    };
    let ((_, none), (loads, warm)) = (run(false), run(true));
    assert_eq!(none, 0);
    assert!(warm * 3 > loads, "{warm} of {loads} loads were of weights in memory");
}
