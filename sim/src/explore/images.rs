//! Which of the legal images of one boundary are tried, and in which order.
//!
//! The smallest thing that survives or vanishes on its own is an *atom*: a granule of a write whose bytes change, a size,
//! a name. Where there are few of them, everything is tried. Elsewhere what breaks stores comes first: everything and
//! nothing; every prefix, also inside of writes; all but one effect or two, one or two alone; each size of a file
//! against all bytes, none, and headers only; single granules of a write; and then subsets drawn at random. Each of
//! these classes has a share of the bound, so that none of them starves those after it.
//!
//! Nothing here knows whether an image is new, or legal: a choice is closed under the profile's order by the disk, and
//! images that come out equal are recovered once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::disk::{Choice, EffectKind, Granule, PendingEffect, Survival};

/// Choices of one kind.
pub(super) struct Class<'a> {
    /// The most images that it may add, unless classes before it left something of their share.
    pub(super) share: usize,
    pub(super) choices: Box<dyn Iterator<Item = Choice> + 'a>,
}

/// How many choices of survivors are legal at a boundary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Legal {
    /// All are tried.
    Every,
    /// No more than two to this power: each granule ends with one of the writes to it or with none, each size and each
    /// name survives or not. Neither the profile's order nor images that come out equal are taken off.
    UpTo { log2: f64 },
}

/// The pending effects of a boundary, as something to choose from.
pub(super) struct Images<'a> {
    effects: &'a [PendingEffect],
    atoms: Vec<Atom>,
    /// For each effect, its atoms.
    atoms_of: Vec<Range<usize>>,
    /// Atoms of which an earlier one makes no difference where a later one survives.
    slots: Vec<Vec<usize>>,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Atom {
    effect: usize,
    part: usize,
}

impl<'a> Images<'a> {
    /// The images of a boundary with these pending effects, on a disk that tears by `granule`; `seed` draws subsets.
    pub(super) fn new(effects: &'a [PendingEffect], granule: Granule, seed: u64) -> Images<'a> {
        let mut atoms = Vec::new();
        let mut atoms_of = Vec::with_capacity(effects.len());
        let mut slots: BTreeMap<(Arc<Path>, u64), Vec<usize>> = BTreeMap::new();
        let mut alone = Vec::new();
        for (effect, pending) in effects.iter().enumerate() {
            let first = atoms.len();
            for part in (0..pending.changed.len()).filter(|part| pending.changed[*part]) {
                match &pending.kind {
                    EffectKind::Data { path, offset, .. } => {
                        let granule = offset / granule.bytes() + part as u64;
                        slots.entry((Arc::clone(path), granule)).or_default().push(atoms.len());
                    }
                    _ => alone.push(vec![atoms.len()]),
                }
                atoms.push(Atom { effect, part });
            }
            atoms_of.push(first..atoms.len());
        }
        let slots = slots.into_values().chain(alone).collect();
        Images { effects, atoms, atoms_of, slots, seed }
    }

    /// How many choices there are, given that so many images may be tried.
    pub(super) fn legal(&self, bound: usize) -> Legal {
        let log2 = self.slots.iter().map(|slot| (slot.len() as f64 + 1.0).log2()).sum();
        if self.is_prefix_ordered() && self.atoms.len() < bound || log2 <= (bound as f64).log2() {
            Legal::Every
        } else {
            Legal::UpTo { log2 }
        }
    }

    /// What is tried, given that so many images may be.
    pub(super) fn classes(&self, bound: usize) -> Vec<Class<'_>> {
        let class = |share, choices| Class { share, choices };
        if self.legal(bound) == Legal::Every {
            return match self.is_prefix_ordered() {
                true => vec![class(bound, self.prefixes())],
                false => vec![class(bound, self.everything())],
            };
        }
        vec![
            class(2, Box::new([true, false].into_iter().map(|kept| self.choose(|_| kept)))),
            class(bound / 4, self.prefixes()),
            class(bound / 4, self.one_or_two()),
            class(bound / 8, self.sizes()),
            class(bound / 4, self.tears()),
            class(bound, self.random(bound)),
        ]
    }

    /// Whether only prefixes are legal.
    fn is_prefix_ordered(&self) -> bool {
        self.effects.iter().enumerate().skip(1).all(|(index, effect)| effect.after.contains(&(index - 1)))
            && self.effects.len() > 1
    }

    /// The choice of these atoms, by index.
    fn choose(&self, is_kept: impl Fn(usize) -> bool) -> Choice {
        let mut survivals: Vec<Survival> = (self.effects.iter().zip(&self.atoms_of))
            .map(|(effect, atoms)| {
                let kept = atoms.clone().filter(|atom| is_kept(*atom)).count();
                if kept == 0 || kept == atoms.len() {
                    return Survival::whole(kept > 0);
                }
                let mut parts = vec![false; effect.part_count as usize];
                for atom in atoms.clone() {
                    parts[self.atoms[atom].part] = is_kept(atom);
                }
                Survival::of_parts(parts)
            })
            .collect();
        // An effect that changes nothing was not asked about. It survives where something that needs it does.
        for index in (0..self.effects.len()).rev() {
            if survivals[index] != Survival::Dropped {
                for before in &self.effects[index].after {
                    if self.atoms_of[*before].is_empty() {
                        survivals[*before] = Survival::Kept;
                    }
                }
            }
        }
        Choice::new(&survivals)
    }

    /// The effects that have atoms.
    fn loud(&self) -> Vec<usize> {
        (0..self.effects.len()).filter(|effect| !self.atoms_of[*effect].is_empty()).collect()
    }

    fn everything(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let count: usize = self.slots.iter().map(|slot| slot.len() + 1).product();
        Box::new((0..count).map(|mut number| {
            let mut kept = vec![false; self.atoms.len()];
            for slot in &self.slots {
                slot[..number % (slot.len() + 1)].iter().for_each(|atom| kept[*atom] = true);
                number /= slot.len() + 1;
            }
            self.choose(|atom| kept[atom])
        }))
    }

    /// The cuts between effects first.
    fn prefixes(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let between = self.atoms_of.iter().map(|atoms| atoms.start).chain([self.atoms.len()]);
        let inside = spread(self.atoms.len()).filter(|cut| {
            let effect = self.atoms[*cut].effect;
            self.atoms_of[effect].start < *cut
        });
        Box::new(between.chain(inside).map(|cut| self.choose(|atom| atom < cut)))
    }

    fn one_or_two(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let loud = self.loud();
        let count = loud.len();
        let effects: Vec<usize> = loud.clone();
        let ones = (0..count).map(move |one| [effects[one]; 2]);
        let twos = spread(count * count)
            .filter(move |pair| pair / count < pair % count)
            .map(move |pair| [loud[pair / count], loud[pair % count]]);
        Box::new(ones.chain(twos).flat_map(move |chosen| {
            [false, true]
                .into_iter()
                .map(move |alone| self.choose(|atom| chosen.contains(&self.atoms[atom].effect) == alone))
        }))
    }

    /// Each size that a file may end with, and those of the other files as they are to be.
    fn sizes(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let size_of = |effect: usize| match &self.effects[effect].kind {
            EffectKind::Size { path, .. } => Some(Arc::clone(path)),
            _ => None,
        };
        let is_data = |effect: usize| matches!(self.effects[effect].kind, EffectKind::Data { .. });
        let last: Vec<(usize, Arc<Path>)> =
            (0..self.effects.len()).filter_map(|effect| Some((effect, size_of(effect)?))).collect();
        // For each file, without any of its pending sizes as well.
        let mut cuts: Vec<(Option<usize>, Arc<Path>)> =
            last.iter().map(|(effect, path)| (Some(*effect), Arc::clone(path))).collect();
        cuts.extend(last.iter().map(|(_, path)| (None, Arc::clone(path))));
        cuts.dedup();
        Box::new(cuts.into_iter().flat_map(move |(last, path)| {
            [Bytes::All, Bytes::None, Bytes::Headers].into_iter().map(move |bytes| {
                self.choose(|atom| {
                    let effect = self.atoms[atom].effect;
                    if is_data(effect) {
                        bytes.keep(atom == self.atoms_of[effect].start)
                    } else {
                        size_of(effect).is_none_or(|of| of != path || Some(effect) <= last)
                    }
                })
            })
        }))
    }

    /// Single granules of each write, missing or alone, beside everything else and beside what came before.
    fn tears(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let torn = spread(self.atoms.len()).filter(|atom| self.atoms_of[self.atoms[*atom].effect].len() > 1);
        Box::new(torn.flat_map(move |torn| {
            let of = self.atoms[torn].effect;
            [(true, true), (false, true), (true, false), (false, false)].into_iter().map(
                move |(is_alone, later)| {
                    self.choose(|atom| match self.atoms[atom].effect {
                        effect if effect == of => (atom == torn) == is_alone,
                        effect => effect < of || later,
                    })
                },
            )
        }))
    }

    fn random(&self, count: usize) -> Box<dyn Iterator<Item = Choice> + '_> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        Box::new((0..2 * count).map(move |index| {
            let eighths = [1, 4, 7][index % 3];
            let mut chance = || random.next_u32() % 8 < eighths;
            let kept: Vec<bool> = if index / 3 % 2 == 0 {
                self.atoms.iter().map(|_| chance()).collect()
            } else {
                let whole: Vec<bool> = self.effects.iter().map(|_| chance()).collect();
                self.atoms.iter().map(|atom| whole[atom.effect]).collect()
            };
            self.choose(|atom| kept[atom])
        }))
    }
}

/// Which bytes survive beside a size.
#[derive(Debug, Clone, Copy)]
enum Bytes {
    All,
    None,
    /// The first granule of each write.
    Headers,
}

impl Bytes {
    fn keep(self, is_first: bool) -> bool {
        match self {
            Bytes::All => true,
            Bytes::None => false,
            Bytes::Headers => is_first,
        }
    }
}

/// The numbers below `count`, each once, so that whoever stops early has seen some of everywhere.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let golden = (count as f64 * 0.618) as usize;
    let stride = (golden.max(1)..).find(|stride| gcd(*stride, count) <= 1).unwrap_or(1);
    (0..count).map(move |index| index * stride % count)
}

fn gcd(left: usize, right: usize) -> usize {
    if right == 0 { left } else { gcd(right, left % right) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::disk::{DiskOptions, Keep, Order, SimDisk, Sizes};
    use proofmark_vfs::OpenMode;

    fn disk(granule: u64, order: Order, sizes: Sizes) -> SimDisk {
        let granule = Granule::new(granule).unwrap();
        SimDisk::new(DiskOptions { granule, order, sizes, ..DiskOptions::default() })
    }

    /// A file that grew by two writes which overlap, was cut, and got a neighbour.
    fn small(disk: &SimDisk) {
        let vfs = disk.vfs();
        let file = vfs.open(Path::new("a"), OpenMode::Create).unwrap();
        vfs.sync_directory(Path::new("/")).unwrap();
        file.write_all_at(&[1; 16], 0).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(&[2; 20], 4).unwrap();
        file.write_all_at(&[3; 4], 20).unwrap();
        file.set_size(12).unwrap();
        vfs.open(Path::new("b"), OpenMode::Create).unwrap().write_all_at(b"x", 0).unwrap();
    }

    /// The hashes of every subset of effects and granules.
    fn brute_force(disk: &SimDisk) -> BTreeSet<u64> {
        let effects = disk.pending();
        let counts: Vec<u64> = effects.iter().map(|effect| effect.part_count).collect();
        let parts: u64 = counts.iter().sum();
        let mut images = BTreeSet::new();
        for mask in 0..1_u64 << parts {
            let mut mask = mask;
            let survivals: Vec<Survival> = (counts.iter())
                .map(|count| {
                    let flags = (0..*count).map(|part| mask >> part & 1 == 1).collect();
                    mask >>= count;
                    Survival::of_parts(flags)
                })
                .collect();
            images.insert(disk.image(&Keep::Chosen(Choice::new(&survivals))).image_hash());
        }
        images
    }

    fn tried(disk: &SimDisk, bound: usize) -> (BTreeSet<u64>, Legal) {
        let effects = disk.pending();
        let images = Images::new(&effects, disk.options().granule, 7);
        let choices = images.classes(bound).into_iter().flat_map(|class| class.choices);
        let hashes = choices.map(|choice| disk.image(&Keep::Chosen(choice)).image_hash()).collect();
        (hashes, images.legal(bound))
    }

    #[test]
    fn where_everything_is_tried_nothing_legal_is_missing() {
        for order in [Order::Any, Order::Metadata, Order::Ordered, Order::Prefix] {
            for sizes in [Sizes::Independent, Sizes::DataFirst, Sizes::SizeFirst] {
                let disk = disk(8, order, sizes);
                small(&disk);
                let (tried, legal) = tried(&disk, 100_000);
                assert_eq!(legal, Legal::Every);
                assert_eq!(tried, brute_force(&disk), "{order} {sizes}");
                assert!(tried.len() > 3, "{order} {sizes}");
            }
        }
    }

    #[test]
    fn where_little_is_tried_all_of_it_is_legal_and_much_of_it_is_new() {
        let disk = disk(8, Order::Any, Sizes::Independent);
        small(&disk);
        let all = brute_force(&disk);
        let (tried, legal) = tried(&disk, 16);
        assert!(matches!(legal, Legal::UpTo { log2 } if log2 >= (all.len() as f64).log2()));
        assert!(tried.is_subset(&all));
        assert!(tried.len() * 3 > all.len(), "{} of {}", tried.len(), all.len());
    }

    /// Effects as a boundary would show them: each with so many granules, all of which change.
    fn effects(part_counts: &[u64]) -> Vec<PendingEffect> {
        let effect = |(index, part_count): (usize, &u64)| PendingEffect {
            sequence: index as u64,
            kind: EffectKind::Data {
                path: Arc::from(PathBuf::from(format!("f{index}"))),
                offset: 0,
                length: part_count * 8,
            },
            part_count: *part_count,
            changed: vec![true; *part_count as usize],
            after: Vec::new(),
        };
        part_counts.iter().enumerate().map(effect).collect()
    }

    #[test]
    fn what_breaks_stores_comes_first() {
        let effects = effects(&[1, 4, 1]);
        let images = Images::new(&effects, Granule::new(8).unwrap(), 1);
        let classes = images.classes(20);
        let texts: Vec<Vec<String>> = classes
            .into_iter()
            .map(|class| class.choices.map(|choice| choice.to_string()).collect())
            .collect();
        assert_eq!(texts[0], ["chosen:0..3", "chosen:"]);
        assert_eq!(texts[1][..4], ["chosen:", "chosen:0", "chosen:0..2", "chosen:0..3"]);
        assert!(texts[1][4..].iter().all(|text| text.starts_with("chosen:0+1[0")), "{:?}", texts[1]);
        assert_eq!(texts[2][..4], ["chosen:1..3", "chosen:0", "chosen:0+2", "chosen:1"]);
        assert!(texts[3].is_empty(), "no size is pending");
        assert!(texts[4].contains(&"chosen:0+1[0..2+3]+2".to_owned()), "{:?}", texts[4]);
        assert!(texts[4].contains(&"chosen:0+1[2]".to_owned()), "{:?}", texts[4]);
        assert_eq!(texts[5].len(), 40);
    }

    #[test]
    fn spreading_reaches_everything_once() {
        for count in [0, 1, 2, 3, 10, 97, 100] {
            let reached: BTreeSet<usize> = spread(count).collect();
            assert_eq!(reached, (0..count).collect());
        }
    }
}
