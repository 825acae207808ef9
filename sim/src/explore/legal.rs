//! How many images are legal, counted without making them.
//!
//! Where effects are ordered, a choice of survivors is a *down-set*: with each effect it holds what that one needs. In each
//! granule of a file the survivors are the earliest of the writes to it, so that a granule has one outcome more than writes.
//! Sizes and names survive or not, each with what it needs: other sizes and names, and the bytes of whole writes; these may
//! need a size in turn. So the down-sets of sizes and names are gone through one by one, and for each the outcomes of the
//! granules multiply. Effects that have nothing to do with one another are counted apart, and their counts multiply.
//!
//! What comes out are choices that differ in something which survives. Some lead to equal images all the same: a byte beyond
//! the end of its file, for one, shows nowhere.

use std::collections::BTreeSet;

/// So many down-sets are gone through, of effects that have to do with one another.
const DOWN_SETS_MAX: usize = 1 << 12;

/// How many choices of survivors are legal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Legal {
    /// All are tried.
    Every,
    /// Two to this power, counted.
    Counted {
        /// The power.
        log2: f64,
    },
    /// No more than two to this power: what the order forbids is not taken off, because it would take too long to count.
    AtMost {
        /// The power.
        log2: f64,
    },
}

/// Effects that have to do with one another.
#[derive(Debug, Default)]
pub(super) struct Component {
    /// Sizes and names, in their order.
    singles: Vec<Single>,
    granules: Vec<Granule>,
}

/// A size or a name.
#[derive(Debug)]
struct Single {
    atom: usize,
    /// The sizes and names that it needs, of this component. They come before it.
    needs: Vec<usize>,
}

/// A granule of a file, and the writes to it.
#[derive(Debug)]
struct Granule {
    writes: Vec<Write>,
}

/// A write to a granule.
#[derive(Debug)]
struct Write {
    atom: usize,
    /// The sizes that it needs.
    needs: Vec<usize>,
    /// The sizes and names that need it.
    needed_by: Vec<usize>,
}

/// What needs what, among atoms: sizes and names, and granules of writes.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    /// For each granule of a file, its atoms; and each other atom for itself.
    pub(super) slots: &'a [Vec<usize>],
    /// Whether an atom is a granule of a write.
    pub(super) is_data: &'a [bool],
    /// For each atom, the atoms without which it does not survive, but for what these need in turn.
    pub(super) needs: &'a [BTreeSet<usize>],
}

impl Needs<'_> {
    /// The effects, sorted by what they have to do with one another.
    pub(super) fn components(&self) -> Vec<Component> {
        let mut leader: Vec<usize> = (0..self.needs.len()).collect();
        let mut join = |left: usize, right: usize| {
            let (left, right) = (find(&mut leader, left), find(&mut leader, right));
            leader[left.max(right)] = left.min(right);
        };
        for slot in self.slots {
            slot.windows(2).for_each(|pair| join(pair[0], pair[1]));
        }
        for (atom, needs) in self.needs.iter().enumerate() {
            needs.iter().for_each(|needed| join(atom, *needed));
        }
        let leaders: Vec<usize> = (0..leader.len()).map(|atom| find(&mut leader, atom)).collect();
        let mut distinct = leaders.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut components: Vec<Component> = distinct.iter().map(|_| Component::default()).collect();
        let place = |atom: usize| distinct.binary_search(&leaders[atom]).expect("every leader is listed");
        // The index of a size or a name among those of its component.
        let mut index = vec![usize::MAX; leaders.len()];
        for atom in (0..leaders.len()).filter(|atom| !self.is_data[*atom]) {
            let singles = &mut components[place(atom)].singles;
            index[atom] = singles.len();
            singles.push(Single { atom, needs: Vec::new() });
        }
        let singles = |atoms: &BTreeSet<usize>| -> Vec<usize> {
            atoms.iter().filter(|atom| !self.is_data[**atom]).map(|atom| index[*atom]).collect()
        };
        for component in &mut components {
            component.singles.iter_mut().for_each(|single| single.needs = singles(&self.needs[single.atom]));
        }
        let mut needed_by = vec![Vec::new(); leaders.len()];
        for single in (0..leaders.len()).filter(|atom| !self.is_data[*atom]) {
            self.needs[single].iter().for_each(|needed| needed_by[*needed].push(index[single]));
        }
        for slot in self.slots.iter().filter(|slot| self.is_data[slot[0]]) {
            let write = |atom: &usize| Write {
                atom: *atom,
                needs: singles(&self.needs[*atom]),
                needed_by: std::mem::take(&mut needed_by[*atom]),
            };
            let writes = slot.iter().map(write).collect();
            components[place(slot[0])].granules.push(Granule { writes });
        }
        components
    }
}

impl Component {
    /// The logarithm of the number of choices, and whether it was counted; otherwise it is a bound.
    pub(super) fn log2(&self) -> (f64, bool) {
        let mut sum = f64::NEG_INFINITY;
        let is_counted = self.down_sets(|kept| {
            let outcomes = self.granules.iter().map(|granule| (granule.tops(kept).count() as f64).log2());
            sum = add_log2(sum, outcomes.sum());
        });
        if is_counted {
            return (sum, true);
        }
        let granules: f64 =
            self.granules.iter().map(|granule| (granule.writes.len() as f64 + 1.0).log2()).sum();
        (self.singles.len() as f64 + granules, false)
    }

    /// All choices, each as the atoms that survive. There should be few.
    pub(super) fn choices(&self) -> Vec<Vec<usize>> {
        let mut choices = Vec::new();
        self.down_sets(|kept| {
            let singles = self.singles.iter().zip(kept).filter(|(_, is_kept)| **is_kept);
            let mut of_set = vec![singles.map(|(single, _)| single.atom).collect::<Vec<usize>>()];
            for granule in &self.granules {
                let extend = |choice: &Vec<usize>| {
                    let choice = choice.clone();
                    let with = move |atoms: Vec<usize>| [choice.as_slice(), &atoms].concat();
                    granule.outcomes(kept).into_iter().map(with).collect::<Vec<_>>()
                };
                of_set = of_set.iter().flat_map(extend).collect();
            }
            choices.append(&mut of_set);
        });
        choices
    }

    /// Goes through the down-sets of sizes and names, unless there are too many.
    fn down_sets(&self, mut see: impl FnMut(&[bool])) -> bool {
        let mut kept = vec![false; self.singles.len()];
        let mut left = DOWN_SETS_MAX;
        self.down_sets_from(0, &mut kept, &mut left, &mut see)
    }

    fn down_sets_from(
        &self,
        index: usize,
        kept: &mut [bool],
        left: &mut usize,
        see: &mut impl FnMut(&[bool]),
    ) -> bool {
        if *left == 0 {
            return false;
        }
        let Some(single) = self.singles.get(index) else {
            *left -= 1;
            see(kept);
            return true;
        };
        if !self.down_sets_from(index + 1, kept, left, see) {
            return false;
        }
        if single.needs.iter().any(|needed| !kept[*needed]) {
            return true;
        }
        kept[index] = true;
        let is_done = self.down_sets_from(index + 1, kept, left, see);
        kept[index] = false;
        is_done
    }
}

impl Granule {
    /// How many of the writes may survive, the first ones, if these sizes and names do.
    fn tops<'a>(&'a self, kept: &'a [bool]) -> impl Iterator<Item = usize> + 'a {
        let is_needed = |write: &Write| write.needed_by.iter().any(|index| kept[*index]);
        let least = self.writes.iter().rposition(is_needed).map_or(0, |last| last + 1);
        let may_survive =
            move |top: &usize| *top == 0 || self.writes[*top - 1].needs.iter().all(|needed| kept[*needed]);
        (least..=self.writes.len()).filter(may_survive)
    }

    /// What may survive, as atoms: the last write that does, and those before it that may.
    fn outcomes(&self, kept: &[bool]) -> Vec<Vec<usize>> {
        let may = |write: &&Write| write.needs.iter().all(|needed| kept[*needed]);
        let atoms = |top: usize| self.writes[..top].iter().filter(may).map(|write| write.atom).collect();
        self.tops(kept).map(atoms).collect()
    }
}

/// The logarithm of the sum of two numbers of which the logarithms are given.
pub(super) fn add_log2(left: f64, right: f64) -> f64 {
    let (small, large) = (left.min(right), left.max(right));
    if small == f64::NEG_INFINITY { large } else { large + (1.0 + (small - large).exp2()).log2() }
}

fn find(leader: &mut [usize], mut atom: usize) -> usize {
    while leader[atom] != atom {
        leader[atom] = leader[leader[atom]];
        atom = leader[atom];
    }
    atom
}
