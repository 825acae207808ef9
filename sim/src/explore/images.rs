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

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::legal::{Component, Legal, Needs};
use crate::disk::{Choice, DiskOptions, EffectKind, Order, PendingEffect, Survival};

/// Choices of one kind.
pub(super) struct Class<'a> {
    /// The most images that it may add, unless classes before it left something of their share.
    pub(super) share: usize,
    pub(super) choices: Box<dyn Iterator<Item = Choice> + 'a>,
}

/// The pending effects of a boundary, as something to choose from.
pub(super) struct Images<'a> {
    effects: &'a [PendingEffect],
    atoms: Vec<Atom>,
    /// For each effect, its atoms.
    atoms_of: Vec<Range<usize>>,
    /// The atoms, in the order in which they survive where only prefixes do.
    line: Vec<usize>,
    /// Whether only prefixes survive.
    is_prefix_ordered: bool,
    components: Vec<Component>,
    /// The logarithm of the number of legal choices, and whether it was counted.
    count: (f64, bool),
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Atom {
    effect: usize,
    part: usize,
}

impl<'a> Images<'a> {
    /// The images of a boundary with these pending effects, on such a disk; `seed` draws subsets.
    pub(super) fn new(effects: &'a [PendingEffect], options: &DiskOptions, seed: u64) -> Images<'a> {
        let mut atoms = Vec::new();
        let mut atoms_of = Vec::with_capacity(effects.len());
        let mut slots: BTreeMap<(Option<u64>, u64), Vec<usize>> = BTreeMap::new();
        let mut alone = Vec::new();
        for (effect, pending) in effects.iter().enumerate() {
            let first = atoms.len();
            for part in (0..pending.changed.len()).filter(|part| pending.changed[*part]) {
                match &pending.kind {
                    EffectKind::Data { offset, .. } => {
                        let granule = offset / options.granule.bytes() + part as u64;
                        slots.entry((pending.file, granule)).or_default().push(atoms.len());
                    }
                    _ => alone.push(vec![atoms.len()]),
                }
                atoms.push(Atom { effect, part });
            }
            atoms_of.push(first..atoms.len());
        }
        let slots: Vec<Vec<usize>> = slots.into_values().chain(alone).collect();
        let line = line(effects).into_iter().flat_map(|effect| atoms_of[effect].clone()).collect();
        let mut images = Images {
            effects,
            atoms,
            atoms_of,
            line,
            is_prefix_ordered: options.order == Order::Prefix,
            components: Vec::new(),
            count: (0.0, true),
            seed,
        };
        images.components = images.components(&slots);
        images.count = images.count();
        images
    }

    fn components(&self, slots: &[Vec<usize>]) -> Vec<Component> {
        if self.is_prefix_ordered {
            return Vec::new();
        }
        let of_effects: Vec<BTreeSet<usize>> =
            (0..self.effects.len()).map(|effect| self.atoms_needed(effect)).collect();
        let needs: Vec<BTreeSet<usize>> =
            self.atoms.iter().map(|atom| of_effects[atom.effect].clone()).collect();
        let is_data: Vec<bool> = (self.atoms.iter())
            .map(|atom| matches!(self.effects[atom.effect].kind, EffectKind::Data { .. }))
            .collect();
        Needs { slots, is_data: &is_data, needs: &needs }.components()
    }

    /// The atoms without which an effect does not survive, but for what these need in turn.
    fn atoms_needed(&self, effect: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut unvisited: Vec<usize> = self.effects[effect].after.clone();
        while let Some(before) = unvisited.pop() {
            needed.extend(self.atoms_of[before].clone());
            if self.atoms_of[before].is_empty() {
                unvisited.extend(&self.effects[before].after);
            }
        }
        needed
    }

    fn count(&self) -> (f64, bool) {
        if self.is_prefix_ordered {
            return ((self.atoms.len() as f64 + 1.0).log2(), true);
        }
        let counts = self.components.iter().map(Component::log2);
        counts.fold((0.0, true), |(sum, all), (log2, is_counted)| (sum + log2, all && is_counted))
    }

    /// How many choices there are, given that so many images may be tried.
    pub(super) fn legal(&self, bound: usize) -> Legal {
        match self.count {
            // Logarithms are rounded, and counts are whole.
            (log2, true) if log2 < (bound as f64 + 0.5).log2() => Legal::Every,
            (log2, true) => Legal::Counted { log2 },
            (log2, false) => Legal::AtMost { log2 },
        }
    }

    /// What is tried, given that so many images may be.
    pub(super) fn classes(&self, bound: usize) -> Vec<Class<'_>> {
        let class = |share, choices| Class { share, choices };
        if self.legal(bound) == Legal::Every {
            return match self.is_prefix_ordered {
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
                if self.is_prefix_ordered {
                    // Between granules that survive, those survive of which nobody could tell.
                    let last = parts.iter().rposition(|kept| *kept).expect("a part of it survives");
                    parts[..last].fill(true);
                }
                Survival::of_parts(parts)
            })
            .collect();
        // An effect that changes nothing was not asked about. It survives where something that needs it does.
        let is_kept = |effect: &usize| survivals[*effect] != Survival::Dropped;
        let mut survivors: Vec<usize> = (0..self.effects.len()).filter(is_kept).collect();
        while let Some(survivor) = survivors.pop() {
            for before in &self.effects[survivor].after {
                if self.atoms_of[*before].is_empty() && survivals[*before] == Survival::Dropped {
                    survivals[*before] = Survival::Kept;
                    survivors.push(*before);
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
        let components: Vec<Vec<Vec<usize>>> = self.components.iter().map(Component::choices).collect();
        let count: usize = components.iter().map(Vec::len).product();
        Box::new((0..count).map(move |mut number| {
            let mut kept = vec![false; self.atoms.len()];
            for choices in &components {
                choices[number % choices.len()].iter().for_each(|atom| kept[*atom] = true);
                number /= choices.len();
            }
            self.choose(|atom| kept[atom])
        }))
    }

    /// The cuts between effects first.
    fn prefixes(&self) -> Box<dyn Iterator<Item = Choice> + '_> {
        let mut place = vec![0; self.line.len()];
        self.line.iter().enumerate().for_each(|(index, atom)| place[*atom] = index);
        let effect = |cut: usize| self.atoms[self.line[cut]].effect;
        let is_between = move |cut: &usize| *cut == 0 || effect(*cut) != effect(*cut - 1);
        let between = (0..self.line.len()).filter(is_between).chain([self.line.len()]);
        let inside = spread(self.line.len()).filter(move |cut| !is_between(cut));
        Box::new(between.chain(inside).map(move |cut| self.choose(|atom| place[atom] < cut)))
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

/// The effects, in an order in which each comes after what it needs: only a growth may need what comes next.
fn line(effects: &[PendingEffect]) -> Vec<usize> {
    let mut line: Vec<usize> = (0..effects.len()).collect();
    for (index, effect) in effects.iter().enumerate() {
        if effect.after.contains(&(index + 1)) {
            line.swap(index, index + 1);
        }
    }
    line
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
    use std::path::PathBuf;

    use super::*;
    use crate::disk::{Granule, Keep, SimDisk, Sizes};
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
        let images = Images::new(&effects, &disk.options(), 7);
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

    /// A file with two writes that overlap, and another one behind its end if it grows, takes the place of another.
    fn replaced(disk: &SimDisk, grows: bool) {
        let vfs = disk.vfs();
        for name in ["a", "b"] {
            let file = vfs.open(Path::new(name), OpenMode::Create).unwrap();
            file.write_all_at(&[1; 16], 0).unwrap();
            file.sync_data().unwrap();
        }
        vfs.sync_directory(Path::new("/")).unwrap();
        let file = vfs.open(Path::new("a"), OpenMode::ReadWrite).unwrap();
        file.write_all_at(&[2; 16], 0).unwrap();
        file.write_all_at(&[3; 8], 8).unwrap();
        if grows {
            file.write_all_at(&[4; 4], 16).unwrap();
        }
        vfs.open(Path::new("c"), OpenMode::Create).unwrap();
        vfs.rename(Path::new("a"), Path::new("b")).unwrap();
    }

    #[test]
    fn choices_are_counted_under_every_order() {
        let mut counts = BTreeSet::new();
        for order in [Order::Any, Order::Metadata, Order::Ordered, Order::Prefix] {
            for sizes in [Sizes::Independent, Sizes::DataFirst, Sizes::SizeFirst] {
                for grows in [false, true] {
                    let disk = disk(8, order, sizes);
                    replaced(&disk, grows);
                    let effects = disk.pending();
                    let images = Images::new(&effects, &disk.options(), 7);
                    let Legal::Counted { log2 } = images.legal(1) else { panic!("{order} {sizes}") };
                    let count = log2.exp2().round() as usize;
                    let image_count = brute_force(&disk).len();
                    // Bytes that survive without the growth that they need show nowhere.
                    let is_in_order = order == Order::Prefix && sizes == Sizes::Independent;
                    if grows && sizes != Sizes::SizeFirst && !is_in_order {
                        assert!(image_count < count, "{order} {sizes}: {image_count} of {count}");
                    } else {
                        assert_eq!(count, image_count, "{order} {sizes} {grows}");
                    }
                    let classes = images.classes(count);
                    assert_eq!(classes.into_iter().flat_map(|class| class.choices).count(), count);
                    counts.insert(count);
                }
            }
        }
        assert!(counts.len() > 5, "{counts:?}");
    }

    #[test]
    fn where_little_is_tried_all_of_it_is_legal_and_much_of_it_is_new() {
        let disk = disk(8, Order::Any, Sizes::Independent);
        small(&disk);
        let all = brute_force(&disk);
        let (tried, legal) = tried(&disk, 16);
        assert!(matches!(legal, Legal::Counted { log2 } if log2 >= (all.len() as f64).log2()));
        assert!(tried.is_subset(&all));
        assert!(tried.len() * 3 > all.len(), "{} of {}", tried.len(), all.len());
    }

    /// Effects as a boundary would show them: each with so many granules, all of which change.
    fn effects(part_counts: &[u64]) -> Vec<PendingEffect> {
        let effect = |(index, part_count): (usize, &u64)| PendingEffect {
            sequence: index as u64,
            file: Some(index as u64),
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
        let options = DiskOptions { granule: Granule::new(8).unwrap(), ..DiskOptions::default() };
        let images = Images::new(&effects, &options, 1);
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
