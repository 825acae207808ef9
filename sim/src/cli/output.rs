//! What the commands' output has in common: colours, numbers and tables.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};

/// Something is wrong.
pub(super) const STYLE_BAD: Style = AnsiColor::Red.on_default().bold();
/// Everything is right.
pub(super) const STYLE_GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something that stands out without being right or wrong.
pub(super) const STYLE_NOTABLE: Style = AnsiColor::Yellow.on_default().bold();
/// Something that may be skipped.
pub(super) const STYLE_FAINT: Style = Style::new().dimmed();

/// A table of names and figures: names on the left, figures on the right. A name that starts with blanks is a part of
/// the one above it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    rows: Vec<[String; 2]>,
}

impl Figures {
    /// A table without rows.
    pub(super) fn new() -> Figures {
        Figures::default()
    }

    /// Adds a number.
    pub(super) fn count(&mut self, name: &str, count: u64) -> &mut Figures {
        self.text(name, &grouped(count))
    }

    /// Adds anything else.
    pub(super) fn text(&mut self, name: &str, figure: &str) -> &mut Figures {
        self.rows.push([name.to_owned(), figure.to_owned()]);
        self
    }

    /// The table, without a line break at its end.
    pub(super) fn render(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.add_rows(self.rows.iter());
        if let Some(figures) = table.column_mut(1) {
            figures.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

/// The first `characters_max` characters of a text, cut off in a way that can be seen.
pub(super) fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number with a comma at every thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number, and what it counts: one, or any other number of them.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn one_is_not_many() {
        let losses = [0, 1, 1000].map(|number| counted(number, "loss", "losses"));
        assert_eq!(losses, ["0 losses", "1 loss", "1,000 losses"]);
    }

    #[test]
    fn only_long_texts_are_cut_off() {
        assert_eq!(shortened("ééé", 3), "ééé");
        assert_eq!(shortened("éééx", 3), "ééé...");
    }

    #[test]
    fn figures_stand_in_two_columns() {
        let table = Figures::new().count("seeds", 1000).text("  of them bad", "none").render();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "│ seeds           1,000 │");
        assert_eq!(lines[2], "│   of them bad    none │");
    }
}
