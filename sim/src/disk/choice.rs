//! Survivors by name: which of the pending effects outlive a power loss, one by one and granule by granule.
//!
//! A [`Choice`] is what every [`Keep`](super::Keep) comes to in the end. Written into a plan it needs no seed and no
//! knowledge of how choices are drawn, so that a person can read it, and whoever shrinks a plan can take from it.
//!
//! **A choice fits any disk.** An effect that it names and that is not pending is passed over, as is a granule that a
//! write does not have; what it does not name is dropped. A plan that lost some of its steps thus still has a meaning.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::ParseError;

/// The most effects, and the most granules of one effect, that a text may name.
const INDEX_MAX: u64 = 1 << 32;

/// What becomes of one pending effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Survival {
    /// All of it survives.
    Kept,
    /// Nothing of it survives.
    Dropped,
    /// One flag for each granule of a write; true for those that survive. Neither all nor none of them do.
    Torn(Vec<bool>),
}

impl Survival {
    /// An indivisible fate.
    #[must_use]
    pub fn whole(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Dropped }
    }

    /// A fate by the granule.
    #[must_use]
    pub fn of_parts(parts: Vec<bool>) -> Self {
        match parts.iter().filter(|kept| **kept).count() {
            0 => Self::Dropped,
            count if count == parts.len() => Self::Kept,
            _ => Self::Torn(parts),
        }
    }

    /// Whether the granule with this index survives.
    #[must_use]
    pub fn keeps(&self, part: usize) -> bool {
        match self {
            Self::Kept => true,
            Self::Dropped => false,
            Self::Torn(parts) => parts[part],
        }
    }
}

impl fmt::Display for Survival {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => formatter.write_str("kept"),
            Self::Dropped => formatter.write_str("dropped"),
            Self::Torn(parts) => {
                write!(formatter, "torn, granules ")?;
                write_ranges(formatter, &runs(parts))?;
                write!(formatter, " of {} kept", parts.len())
            }
        }
    }
}

/// A set of pending effects and granules: those that survive.
///
/// Effects are numbered from 0 in their global order, granules from 0 within their write; ranges are half open. The
/// text form, for plans: `chosen:0..3+5+7[0..2+9]` for the effects 0, 1, 2 and 5, and of effect 7 the granules 0, 1
/// and 9; `chosen:` for none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Choice {
    /// Ascending, and neither empty nor overlapping.
    effects: Vec<Chosen>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Chosen {
    Whole(Range<u64>),
    /// The granules are ascending, and neither empty nor overlapping.
    Torn(u64, Vec<Range<u64>>),
}

impl Choice {
    /// The survivors of a fate for each pending effect, in the global order.
    #[must_use]
    pub fn new(survivals: &[Survival]) -> Self {
        let mut effects = Vec::new();
        for (index, survival) in (0..).zip(survivals) {
            match survival {
                Survival::Dropped => {}
                Survival::Torn(parts) => effects.push(Chosen::Torn(index, runs(parts))),
                Survival::Kept => match effects.last_mut() {
                    Some(Chosen::Whole(range)) if range.end == index => range.end += 1,
                    _ => effects.push(Chosen::Whole(index..index + 1)),
                },
            }
        }
        Self { effects }
    }

    /// Whether nothing survives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// How many granules of an effect it takes to name those that survive of it; 0 if it does not survive, or whole.
    #[must_use]
    pub fn parts_named(&self, effect: u64) -> u64 {
        let torn = self.effects.iter().find_map(|chosen| match chosen {
            Chosen::Torn(index, granules) if *index == effect => granules.last(),
            _ => None,
        });
        torn.map_or(0, |last| last.end)
    }

    /// The fate of effects that have so many granules each, in the global order.
    #[must_use]
    pub fn survivals(&self, part_counts: &[u64]) -> Vec<Survival> {
        let mut survivals = vec![Survival::Dropped; part_counts.len()];
        for chosen in &self.effects {
            match chosen {
                Chosen::Whole(range) => {
                    let end = range.end.min(part_counts.len() as u64);
                    (range.start..end).for_each(|index| survivals[index as usize] = Survival::Kept);
                }
                Chosen::Torn(index, granules) => {
                    if let Some(count) = part_counts.get(*index as usize) {
                        let mut parts = vec![false; *count as usize];
                        let ranges = granules.iter().map(|range| range.start..range.end.min(*count));
                        ranges.flatten().for_each(|part| parts[part as usize] = true);
                        survivals[*index as usize] = Survival::of_parts(parts);
                    }
                }
            }
        }
        survivals
    }
}

fn runs(parts: &[bool]) -> Vec<Range<u64>> {
    let mut start = 0;
    let mut runs = Vec::new();
    for run in parts.chunk_by(|left, right| left == right) {
        let end = start + run.len() as u64;
        if run[0] {
            runs.push(start..end);
        }
        start = end;
    }
    runs
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("chosen:")?;
        for (place, chosen) in self.effects.iter().enumerate() {
            formatter.write_str(if place == 0 { "" } else { "+" })?;
            match chosen {
                Chosen::Whole(range) => write_range(formatter, range)?,
                Chosen::Torn(index, granules) => {
                    write!(formatter, "{index}[")?;
                    write_ranges(formatter, granules)?;
                    formatter.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

fn write_ranges(formatter: &mut fmt::Formatter<'_>, ranges: &[Range<u64>]) -> fmt::Result {
    for (place, range) in ranges.iter().enumerate() {
        formatter.write_str(if place == 0 { "" } else { "+" })?;
        write_range(formatter, range)?;
    }
    Ok(())
}

fn write_range(formatter: &mut fmt::Formatter<'_>, range: &Range<u64>) -> fmt::Result {
    if range.end - range.start == 1 {
        write!(formatter, "{}", range.start)
    } else {
        write!(formatter, "{}..{}", range.start, range.end)
    }
}

impl FromStr for Choice {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or_else(|| ParseError::new("choice of survivors", text))
    }
}

fn parse(text: &str) -> Option<Choice> {
    let mut rest = text.strip_prefix("chosen:")?;
    let mut effects: Vec<Chosen> = Vec::new();
    let mut next = 0;
    while !rest.is_empty() {
        if !effects.is_empty() {
            rest = rest.strip_prefix('+')?;
        }
        let end = rest.find(['+', '[']).unwrap_or(rest.len());
        let range = parse_range(&rest[..end], next)?;
        next = range.end;
        rest = &rest[end..];
        let Some(granules) = rest.strip_prefix('[') else {
            match effects.last_mut() {
                Some(Chosen::Whole(before)) if before.end == range.start => before.end = range.end,
                _ => effects.push(Chosen::Whole(range)),
            }
            continue;
        };
        let (granules, after) = granules.split_once(']')?;
        rest = after;
        let is_one = range.end - range.start == 1;
        effects.push(Chosen::Torn(is_one.then_some(range.start)?, parse_granules(granules)?));
    }
    Some(Choice { effects })
}

fn parse_granules(text: &str) -> Option<Vec<Range<u64>>> {
    let mut granules: Vec<Range<u64>> = Vec::new();
    for part in text.split('+') {
        let range = parse_range(part, granules.last().map_or(0, |range| range.end))?;
        match granules.last_mut() {
            Some(before) if before.end == range.start => before.end = range.end,
            _ => granules.push(range),
        }
    }
    Some(granules)
}

/// A number, or two of them; none of it before `first`.
fn parse_range(text: &str, first: u64) -> Option<Range<u64>> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= INDEX_MAX);
    let range = match text.split_once("..") {
        Some((start, end)) => number(start)?..number(end)?,
        None => number(text).map(|start| start..start + 1)?,
    };
    (first <= range.start && range.start < range.end && range.end <= INDEX_MAX).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::Survival::{Dropped, Kept, Torn};
    use super::*;

    #[test]
    fn a_choice_prints_as_it_was_written() {
        for text in
            ["chosen:", "chosen:0", "chosen:0..3+5+7[0..2+9]", "chosen:3[1]+4..9", "chosen:0[0..4]+1[2]"]
        {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        let last: Choice = "chosen:0..4294967295+4294967295".parse().unwrap();
        assert_eq!(last.to_string(), "chosen:0..4294967296");
        assert_eq!(last.to_string().parse(), Ok(last));
        assert_eq!("chosen:0+1+2[3+4]".parse::<Choice>().unwrap().to_string(), "chosen:0..2+2[3..5]");
    }

    #[test]
    fn what_is_no_choice_is_refused() {
        let bad = [
            "",
            "0",
            "chosen",
            "chosen:x",
            "chosen:3..3",
            "chosen:4..3",
            "chosen:3+2",
            "chosen:1+1",
            "chosen:1,2",
            "chosen:+1",
            "chosen:1+",
            "chosen:1[",
            "chosen:1[]",
            "chosen:1[2",
            "chosen:0..2[1]",
            "chosen:1[3+2]",
            "chosen:1[2]3",
            "chosen:99999999999",
            "chosen:4294967296",
            "chosen:0..4294967297",
            "chosen:0..18446744073709551615",
            "chosen:-1",
        ];
        for text in bad {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }

    #[test]
    fn fates_survive_a_round_trip() {
        let part_counts = [1, 4, 1, 1, 3];
        let fates =
            [Kept, Torn(vec![true, false, true, true]), Kept, Dropped, Torn(vec![false, false, true])];
        let choice = Choice::new(&fates);
        assert_eq!(choice.to_string(), "chosen:0+1[0+2..4]+2+4[2]");
        assert_eq!(choice.survivals(&part_counts), fates);
        assert_eq!(choice.to_string().parse(), Ok(choice));
        assert!(Choice::new(&[Dropped, Dropped]).is_empty());
    }

    #[test]
    fn a_choice_fits_any_disk() {
        let choice: Choice = "chosen:1..3+5[0+7..9]+9".parse().unwrap();
        assert_eq!(choice.survivals(&[1, 1]), [Dropped, Kept]);
        let expected = [Dropped, Kept, Kept, Dropped, Dropped, Torn(vec![true, false])];
        assert_eq!(choice.survivals(&[1, 1, 1, 1, 1, 2]), expected);
        assert_eq!(choice.survivals(&[1, 1, 1, 1, 1, 1])[5], Kept);
        assert!(choice.survivals(&[]).is_empty());
    }
}
