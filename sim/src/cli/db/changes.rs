//! `db changes`: what each retained transaction changed, one after the other.

use std::io::Write;

use proofmark_engine::{Change, Error, TxnId};

use super::lines::escape;
use super::{ChangesArguments, damage, open_to_look};
use crate::cli::Ending;

/// Prints the changes from one transaction on, a line each.
pub(super) fn changes(arguments: &ChangesArguments, out: &mut impl Write) -> anyhow::Result<Ending> {
    let ChangesArguments { path, from } = arguments;
    let Some(database) = open_to_look(path, out)? else { return Ok(Ending::Unsound) };
    let from = from.unwrap_or_else(|| TxnId(database.oldest_retained().0 + 1));
    for change in database.changes(from)? {
        match change {
            Ok(change) => print(&change, out)?,
            Err(error @ Error::Corruption { .. }) => return damage(error, out),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Ending::Sound)
}

fn print(change: &Change, out: &mut impl Write) -> anyhow::Result<()> {
    let mut line = String::new();
    for (key, value) in &change.operations {
        line.clear();
        escape(key, &mut line);
        if let Some(value) = value {
            line.push('\t');
            escape(value, &mut line);
        }
        let kind = if value.is_some() { "put" } else { "delete" };
        writeln!(out, "{}\t{kind}\t{line}", change.txn)?;
    }
    Ok(())
}
