//! The configuration, how the disk behaves, and the faults: without them if possible, and milder if not.

use super::search::{Search, Stopped, strike_mut, strikes};
use super::simplify::halves;
use crate::disk::{DiskOptions, Fault, Granule, Keep, Occasion, Profile};
use crate::plan::{Config, Plan};

/// A fault is tried at each of so many occasions.
const OCCASIONS_MAX: u64 = 12;

/// Takes planted faults away, and lets those that are needed strike at an earlier occasion.
pub(super) fn drop_faults(search: &mut Search<'_>) -> Result<(), Stopped> {
    search.attempt_with(|plan| plan.sabotage.clear())?;
    for index in (0..search.best().sabotage.len()).rev() {
        search.attempt_with(|plan| {
            plan.sabotage.remove(index);
        })?;
    }
    for index in 0..search.best().sabotage.len() {
        for plainer in plainer_faults(&search.best().sabotage[index]) {
            if search.attempt_with(|plan| plan.sabotage[index] = plainer)? {
                break;
            }
        }
    }
    Ok(())
}

/// What may be planted in a fault's place, the plainest first.
pub(super) fn plainer_faults(fault: &Fault) -> Vec<Fault> {
    let once = |nth| Fault { when: Occasion::Nth(nth), count: Some(1), ..fault.clone() };
    let mut plainer: Vec<Fault> = match fault.when {
        Occasion::Nth(nth) => (1..nth.min(OCCASIONS_MAX))
            .chain(halves(nth).into_iter().filter(|half| *half > 0))
            .map(once)
            .collect(),
        Occasion::Every(_) | Occasion::Rate { .. } => (1..=OCCASIONS_MAX).map(once).collect(),
    };
    if let Occasion::Nth(nth) = fault.when {
        plainer.push(once(nth));
    }
    plainer.extend(
        halves(fault.count.unwrap_or(OCCASIONS_MAX))
            .into_iter()
            .filter(|count| *count > 0)
            .map(|count| Fault { count: Some(count), ..fault.clone() }),
    );
    plainer.push(Fault { error: None, ..fault.clone() });
    let mut scope = fault.scope.clone();
    (scope.file, scope.range) = (None, None);
    plainer.push(Fault { scope, ..fault.clone() });
    plainer.retain(|plainer| plainer != fault);
    plainer
}

/// Goes back to what is usual, and to a disk that forgets less.
pub(super) fn relax(search: &mut Search<'_>) -> Result<(), Stopped> {
    relax_config(search)?;
    relax_disk(search)
}

fn relax_config(search: &mut Search<'_>) -> Result<(), Stopped> {
    if search.attempt_with(|plan| plan.config = Config::default())? {
        return Ok(());
    }
    let default = Config::default();
    let resets: [fn(&mut Config, &Config); 11] = [
        |config, default| config.page_size = default.page_size,
        |config, default| config.cache_bytes = default.cache_bytes,
        |config, default| config.segment_bytes = default.segment_bytes,
        |config, default| config.spare_segments = default.spare_segments,
        |config, default| config.log_chunk_bytes = default.log_chunk_bytes,
        |config, default| config.stream_bytes = default.stream_bytes,
        |config, default| config.write_tier_bytes = default.write_tier_bytes,
        |config, default| config.retention = default.retention,
        |config, default| config.prune = default.prune,
        |config, default| config.two_phase_commit = default.two_phase_commit,
        |config, default| config.quick_repair = default.quick_repair,
    ];
    for reset in resets {
        search.attempt_with(|plan| reset(&mut plan.config, &default))?;
    }
    Ok(())
}

/// Tries every profile, from the strictest on, each with every granule, from the coarsest on. What the plan ends with
/// says what it needs.
fn relax_disk(search: &mut Search<'_>) -> Result<(), Stopped> {
    let usual = DiskOptions::default().dirty_bytes_max;
    search.attempt_with(|plan| plan.disk.dirty_bytes_max = usual)?;
    for profile in Profile::ALL {
        for granule in Granule::ALL.into_iter().rev() {
            let mut disk = search.best().disk;
            profile.apply(&mut disk);
            disk.granule = granule;
            if attempt_disk(search, disk)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tries a disk with the survivors that there are, and with plain ones: named survivors mean others when granules do.
fn attempt_disk(search: &mut Search<'_>, disk: DiskOptions) -> Result<bool, Stopped> {
    if search.attempt_with(|plan| plan.disk = disk)? {
        return Ok(true);
    }
    for keep in [Keep::None, Keep::All] {
        let all_keep = |plan: &mut Plan| {
            plan.disk = disk;
            for number in 0..strikes(plan).count() {
                strike_mut(plan, number).keep = keep.clone();
            }
        };
        if strikes(search.best()).count() > 0 && search.attempt_with(all_keep)? {
            return Ok(true);
        }
    }
    Ok(false)
}
