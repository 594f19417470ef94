//! Runs of a range of seeds on several threads.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Runs each seed and sums what each did; ends at the first finding, and gives that of the lowest seed.
///
/// # Errors
/// What a run found.
pub(crate) fn over<S: Default + Send, F: Send>(
    seeds: &Range<u64>,
    threads: usize,
    run: impl Fn(u64) -> Result<S, F> + Sync,
    add: impl Fn(&mut S, &S) + Sync,
) -> Result<S, F> {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new((S::default(), None::<(u64, F)>)));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let ran = run(seed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match ran {
                        Ok(stats) => add(&mut sum.0, &stats),
                        Err(finding) => {
                            next.store(seeds.end, Ordering::Relaxed);
                            if sum.1.as_ref().is_none_or(|(known, _)| *known > seed) {
                                sum.1 = Some((seed, finding));
                            }
                        }
                    }
                }
            });
        }
    });
    let (stats, finding) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    finding.map_or(Ok(stats), |(_, finding)| Err(finding))
}
