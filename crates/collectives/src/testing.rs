//! What every kind of group keeps.

use crate::{Group, Lost};

/// Runs what each rank does, in threads.
fn together<G: Group + Send + Sync, T: Send>(group: &[G], each: impl Fn(&G) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = group.iter().map(|rank| scope.spawn(|| each(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Bytes that tell where they belong.
fn pattern(rank: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + rank * 7 + at / 251) as u8).collect()
}

/// `threads` makes a group of so many ranks; `lengths` are of what is sent, from nothing to more than there is room for at once.
pub fn a_group_keeps_its_contract<G: Group + Send + Sync>(threads: impl Fn(usize) -> Vec<G>, lengths: &[usize]) {
    (1..=4).for_each(|ranks| all_receive_what_is_sent_in_order(threads(ranks), lengths));
    (0..3).for_each(|late| sums_are_added_in_the_order_of_ranks(threads(3), late));
    whoever_waits_hears_why_the_group_has_ended(&threads(3));
}

/// What one sends all receive, and what all send one receives.
fn all_receive_what_is_sent_in_order<G: Group + Send + Sync>(group: Vec<G>, lengths: &[usize]) {
    let ranks = group.len();
    let all = together(&group, |group| {
        let round = |length: &usize| {
            let mut given = if group.rank() == 0 { pattern(9, *length) } else { vec![0; *length] };
            group.broadcast(&mut given, None).unwrap();
            let mut all = vec![0; length * ranks];
            group.gather(&pattern(group.rank(), *length), &mut all, None).unwrap();
            group.barrier(None).unwrap();
            (given, all)
        };
        lengths.iter().map(round).collect::<Vec<_>>()
    });
    for (rank, found) in all.into_iter().enumerate() {
        for ((given, all), length) in found.into_iter().zip(lengths) {
            assert_eq!(given, pattern(9, *length));
            if rank == 0 {
                assert_eq!(all, (0..ranks).flat_map(|rank| pattern(rank, *length)).collect::<Vec<_>>());
            }
        }
    }
}

/// Whoever of three comes first or last.
fn sums_are_added_in_the_order_of_ranks<G: Group + Send + Sync>(group: Vec<G>, late: usize) {
    // In another order, these come to another number.
    let own = [1e8_f32, 1.0, -1e8];
    let expected = (own[0] + own[1]) + own[2];
    assert_ne!(expected.to_bits(), ((own[0] + own[2]) + own[1]).to_bits());
    let found = together(&group, |group| {
        let mut numbers = [own[group.rank()]; 1000];
        if group.rank() == late {
            (0..1000).for_each(|_| std::thread::yield_now());
        }
        group.all_reduce(&mut numbers, None).unwrap();
        numbers
    });
    assert!(found.iter().flatten().all(|number| number.to_bits() == expected.to_bits()));
}

/// Also those who come later, and whatever others say then.
fn whoever_waits_hears_why_the_group_has_ended<G: Group + Send + Sync>(group: &[G]) {
    let alarm = group[0].alarm();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = group
            .iter()
            .map(|rank| scope.spawn(move || rank.receive(usize::from(rank.rank() == 0), &mut [0], None)))
            .collect();
        alarm.abort("rank 2 is gone");
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), Err(Lost::Ended("rank 2 is gone".into())));
        }
    });
    alarm.abort("another reason");
    assert_eq!(alarm.ended(), Some(Lost::Ended("rank 2 is gone".into())));
    assert_eq!(group[1].send(&[1], None), Err(Lost::Ended("rank 2 is gone".into())));
}
