//! Power loss: when it strikes, and which of the pending effects outlive it.
//!
//! Deciding is separate from applying. [`Keep::decide`] sees nothing of the pending effects but how many parts each
//! has, in their global order, and returns one [`Survival`] for each; the disk then materialises whatever was decided,
//! with all that it carries along.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::ParseError;
use super::choice::{Choice, Survival};

/// Which pending effects survive a power loss. What survives of a write carries earlier effects on the same granules
/// with it, whatever was chosen for these.
///
/// The text form, for plans: `all`, `none`, `prefix:500`, `random:500:8571`, `all-but-one:7`, `only-one:7`,
/// `page-cache`, and [`Choice`]'s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// All of them, as if everything had been synced a moment before.
    All,
    /// None of them: exactly what was synced.
    None,
    /// The earliest in the global order. The cut may fall inside a write.
    Prefix {
        /// How much of the parts (granules, sizes, entries) survives, in thousandths.
        permille: u16,
    },
    /// A random subset. Half of the writes are kept or dropped as a whole, a quarter granule by granule, and a
    /// quarter is cut at one granule, so that reorderings, scattered tears and clean tears are all common.
    Random {
        /// The chance of each effect, or granule, to survive, in thousandths.
        permille: u16,
        /// Decides everything.
        seed: u64,
    },
    /// All but a single effect.
    AllButOne {
        /// Decides which.
        seed: u64,
    },
    /// A single effect.
    OnlyOne {
        /// Decides which.
        seed: u64,
    },
    /// Only the process dies, not the machine. Whatever was written is still there to be read, and still pending: a
    /// store that takes it for durable loses it at the next power loss.
    PageCache,
    /// Exactly these.
    Chosen(Choice),
}

impl Keep {
    /// Decides about effects that have so many parts each, in the global order.
    pub(super) fn decide(&self, part_counts: &[u64]) -> Vec<Survival> {
        let only = |seed: u64, kept: bool| {
            let chosen = below(&mut ChaCha8Rng::seed_from_u64(seed), part_counts.len() as u64);
            (0..part_counts.len() as u64).map(|index| Survival::whole((index == chosen) == kept)).collect()
        };
        match *self {
            Self::Chosen(ref choice) => choice.survivals(part_counts),
            Self::All => vec![Survival::Kept; part_counts.len()],
            Self::None => vec![Survival::Dropped; part_counts.len()],
            Self::Prefix { permille } => prefix(part_counts, permille),
            Self::Random { permille, seed } => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                part_counts.iter().map(|count| random_survival(&mut random, *count, permille)).collect()
            }
            Self::AllButOne { seed } => only(seed, false),
            Self::OnlyOne { seed } => only(seed, true),
            Self::PageCache => unreachable!("nothing is decided while the power stays on"),
        }
    }
}

fn prefix(part_counts: &[u64], permille: u16) -> Vec<Survival> {
    let total: u64 = part_counts.iter().sum();
    let mut left = (u128::from(total) * u128::from(permille) / 1000) as u64;
    let mut survivals = Vec::with_capacity(part_counts.len());
    for &count in part_counts {
        let kept = left.min(count);
        left -= kept;
        survivals.push(Survival::of_parts((0..count).map(|part| part < kept).collect()));
    }
    survivals
}

fn random_survival(random: &mut ChaCha8Rng, count: u64, permille: u16) -> Survival {
    let style = random.next_u32() % 4;
    if count == 1 || style < 2 {
        return Survival::whole(chance(random, permille));
    }
    if style == 2 {
        return Survival::of_parts((0..count).map(|_| chance(random, permille)).collect());
    }
    let head_survives = chance(random, permille);
    let cut = 1 + below(random, count - 1);
    Survival::of_parts((0..count).map(|part| (part < cut) == head_survives).collect())
}

fn chance(random: &mut ChaCha8Rng, permille: u16) -> bool {
    below(random, 1000) < u64::from(permille)
}

/// A number below `bound`, or 0 if the bound is 0.
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

impl fmt::Display for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::None => formatter.write_str("none"),
            Self::Prefix { permille } => write!(formatter, "prefix:{permille}"),
            Self::Random { permille, seed } => write!(formatter, "random:{permille}:{seed}"),
            Self::AllButOne { seed } => write!(formatter, "all-but-one:{seed}"),
            Self::OnlyOne { seed } => write!(formatter, "only-one:{seed}"),
            Self::PageCache => formatter.write_str("page-cache"),
            Self::Chosen(choice) => choice.fmt(formatter),
        }
    }
}

impl FromStr for Keep {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("choice of survivors", text);
        let number = |text: &str| text.parse::<u64>().map_err(|_| error());
        let permille = |text: &str| match number(text)? {
            value @ 0..=1000 => Ok(value as u16),
            _ => Err(error()),
        };
        match text.split(':').collect::<Vec<_>>()[..] {
            ["all"] => Ok(Self::All),
            ["none"] => Ok(Self::None),
            ["prefix", share] => Ok(Self::Prefix { permille: permille(share)? }),
            ["random", share, seed] => Ok(Self::Random { permille: permille(share)?, seed: number(seed)? }),
            ["all-but-one", seed] => Ok(Self::AllButOne { seed: number(seed)? }),
            ["only-one", seed] => Ok(Self::OnlyOne { seed: number(seed)? }),
            ["page-cache"] => Ok(Self::PageCache),
            ["chosen", _] => text.parse().map(Self::Chosen),
            _ => Err(error()),
        }
    }
}

/// On which side of an I/O call a power loss strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The call has no effect.
    Before,
    /// A write has written its first granules, and any other call has no effect: so may a process die.
    During,
    /// The call has all of its effect (a sync has made its data durable), but its caller never hears of it.
    After,
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        })
    }
}

/// When the power is to be lost. The text form, for plans: `before:12`, `during:12`, `after:12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// At which I/O call, counted from the moment of arming; 1 is the next one.
    pub call: u64,
    /// On which side of that call.
    pub moment: Moment,
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.moment, self.call)
    }
}

impl FromStr for CrashPoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("crash point", text);
        let (moment, call) = text.split_once(':').ok_or_else(error)?;
        let moment = match moment {
            "before" => Moment::Before,
            "during" => Moment::During,
            "after" => Moment::After,
            _ => return Err(error()),
        };
        let call = call.parse().ok().filter(|call| *call > 0).ok_or_else(error)?;
        Ok(Self { call, moment })
    }
}

/// What a power loss, or the death of the process alone, did to the pending effects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// How many effects are pending still, if only the process died: see [`Keep::PageCache`].
    pub effects_still_pending: Option<u64>,
    /// What survived, whatever it was that chose it. Empty if only the process died.
    pub choice: Choice,
    /// Effects that survived whole.
    pub effects_kept: u64,
    /// Effects of which nothing survived.
    pub effects_dropped: u64,
    /// Writes of which some granules survived and others did not.
    pub effects_torn: u64,
    /// Of the dropped effects, those that set a file's size.
    pub sizes_dropped: u64,
    /// Of the dropped effects, those that created, renamed or removed a name.
    pub entries_dropped: u64,
    /// Files that had a name and exist no longer, because no surviving name leads to them.
    pub files_lost: u64,
}

impl CrashReport {
    /// Effects that were pending.
    #[must_use]
    pub fn effects_pending(&self) -> u64 {
        let decided = self.effects_kept + self.effects_dropped + self.effects_torn;
        decided + self.effects_still_pending.unwrap_or_default()
    }

    pub(super) fn count(&mut self, survival: &Survival) {
        match survival {
            Survival::Kept => self.effects_kept += 1,
            Survival::Dropped => self.effects_dropped += 1,
            Survival::Torn(_) => self.effects_torn += 1,
        }
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(count) = self.effects_still_pending {
            return write!(formatter, "the process died; {count} effects stay pending");
        }
        write!(
            formatter,
            "power loss: {} effects kept, {} dropped ({} sizes, {} entries), {} torn, {} files lost",
            self.effects_kept,
            self.effects_dropped,
            self.sizes_dropped,
            self.entries_dropped,
            self.effects_torn,
            self.files_lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_survive_a_round_trip() {
        for text in [
            "all",
            "none",
            "prefix:500",
            "random:500:8571",
            "all-but-one:7",
            "only-one:7",
            "page-cache",
            "chosen:1",
        ] {
            assert_eq!(text.parse::<Keep>().unwrap().to_string(), text);
        }
        for text in ["before:1", "during:3", "after:12"] {
            assert_eq!(text.parse::<CrashPoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "some", "prefix", "prefix:1001", "random:500", "random:500:x", "all:1", "only-one:-1"]
        {
            assert!(text.parse::<Keep>().is_err(), "{text}");
        }
        for text in ["", "before", "before:0", "amid:1", "after:x"] {
            assert!(text.parse::<CrashPoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_may_end_inside_an_effect() {
        let keep = Keep::Prefix { permille: 500 };
        let expected = [Survival::Kept, Survival::Torn(vec![true, true, false, false]), Survival::Dropped];
        assert_eq!(keep.decide(&[1, 4, 1]), expected);
        assert_eq!(Keep::Prefix { permille: 1000 }.decide(&[1, 4]), [Survival::Kept, Survival::Kept]);
        assert_eq!(Keep::Prefix { permille: 0 }.decide(&[1, 4]), [Survival::Dropped, Survival::Dropped]);
    }

    #[test]
    fn one_means_one_and_every_one_is_reached() {
        let mut reached = [false; 5];
        for seed in 0..100 {
            let only = Keep::OnlyOne { seed }.decide(&[3; 5]);
            let chosen: Vec<_> = (0..5).filter(|index| only[*index] == Survival::Kept).collect();
            assert_eq!(chosen.len(), 1);
            reached[chosen[0]] = true;
            let others = Keep::AllButOne { seed }.decide(&[3; 5]);
            assert!((0..5).all(|index| (others[index] == Survival::Dropped) == (index == chosen[0])));
        }
        assert_eq!(reached, [true; 5]);
        assert!(Keep::OnlyOne { seed: 1 }.decide(&[]).is_empty());
    }

    #[test]
    fn random_mixes_whole_effects_with_both_kinds_of_tears() {
        let decided = Keep::Random { permille: 500, seed: 3 }.decide(&[16; 400]);
        let (mut whole, mut cut, mut scattered) = (0, 0, 0);
        for survival in &decided {
            match survival {
                Survival::Kept | Survival::Dropped => whole += 1,
                Survival::Torn(parts) if parts.chunk_by(|left, right| left == right).count() == 2 => cut += 1,
                Survival::Torn(_) => scattered += 1,
            }
        }
        assert!(whole > 150 && cut > 60 && scattered > 60, "{whole} {cut} {scattered}");
        assert_eq!(decided, Keep::Random { permille: 500, seed: 3 }.decide(&[16; 400]));
        assert_ne!(decided, Keep::Random { permille: 500, seed: 4 }.decide(&[16; 400]));
    }

    #[test]
    fn the_chance_is_what_it_says() {
        let kept = |permille| {
            let decided = Keep::Random { permille, seed: 9 }.decide(&[1; 2000]);
            decided.iter().filter(|survival| **survival == Survival::Kept).count()
        };
        assert_eq!(kept(0), 0);
        assert_eq!(kept(1000), 2000);
        assert!((400..600).contains(&kept(250)), "{}", kept(250));
    }
}
