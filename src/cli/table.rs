//! Tables for people: columns without lines between the rows, fitted to the width. An id, an invoice number, a state or a
//! time is never broken; a column for which there is no room is left out, and the page says so.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table as Drawn, Width, presets};
use std::io::IsTerminal;

/// Of a terminal that does not say how wide it is, and of a pipe.
const WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;
/// Text that flows gets as much at least, or is left out.
const FLOW_MIN: usize = 16;

/// How a column takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnFit {
    /// Always there, never broken.
    Whole,
    /// As `Whole`, its text at the right.
    Right,
    /// Never broken, and left out if there is no room: the highest number first.
    Spare(u8),
    /// Takes the rest of the width and breaks between words.
    Flows,
}

/// How wide a table may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Columns(usize),
    /// `--wide`: as wide as it needs.
    Any,
}

/// What every command with a table takes.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Wide {
    /// Show every column, however wide the table gets.
    #[arg(long)]
    wide: bool,
}

impl Wide {
    pub fn room(self) -> Room {
        let terminal = Drawn::new().width().filter(|_| std::io::stdout().is_terminal());
        if self.wide { Room::Any } else { Room::Columns(terminal.map_or(WIDTH, usize::from).max(WIDTH)) }
    }
}

/// A table that is being filled.
pub struct TextTable {
    columns: Vec<(String, ColumnFit)>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub fn new<const N: usize>(columns: [(&str, ColumnFit); N]) -> Self {
        Self { columns: columns.map(|(head, fit)| (head.to_owned(), fit)).into(), rows: Vec::new() }
    }

    /// A row, with a cell for each column.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table as lines, without the end of the last one.
    pub fn print(&self, room: Room) -> String {
        let kept = self.kept_columns(room);
        let mut drawn = Drawn::new();
        drawn.load_preset(presets::NOTHING).force_no_tty();
        drawn.set_header(kept.iter().map(|at| self.columns[*at].0.clone()));
        for row in &self.rows {
            drawn.add_row(kept.iter().map(|at| row[*at].clone()));
        }
        if let Room::Columns(width) = room {
            drawn.set_content_arrangement(ContentArrangement::Dynamic);
            drawn.set_width(u16::try_from(width + GAP).unwrap_or(u16::MAX));
        }
        for (index, at) in kept.iter().enumerate() {
            let Some(column) = drawn.column_mut(index) else { continue };
            column.set_padding((0, u16::try_from(GAP).unwrap_or(0)));
            match self.columns[*at].1 {
                ColumnFit::Right => {
                    column.set_cell_alignment(CellAlignment::Right);
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
                ColumnFit::Whole | ColumnFit::Spare(_) => {
                    column.set_constraint(ColumnConstraint::ContentWidth);
                }
                ColumnFit::Flows => {
                    let least = u16::try_from(FLOW_MIN).unwrap_or(0);
                    column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
                }
            }
        }
        let lines = drawn.lines().map(|line| line.trim_end().to_owned());
        let text = lines.collect::<Vec<_>>().join("\n");
        let left_out: Vec<&str> = (0..self.columns.len())
            .filter(|at| !kept.contains(at) && !self.is_empty(*at))
            .map(|at| self.columns[at].0.as_str())
            .collect();
        if left_out.is_empty() {
            text
        } else {
            format!("{text}\n\nnot shown: {} (--wide shows them)", left_out.join(", "))
        }
    }

    /// The columns for which there is room. One in which nothing stands is not shown.
    fn kept_columns(&self, room: Room) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..self.columns.len()).filter(|at| !self.is_empty(*at)).collect();
        let Room::Columns(width) = room else { return kept };
        while self.needed(&kept) > width {
            let spare = |at: &usize| match self.columns[*at].1 {
                ColumnFit::Spare(rank) => Some((rank, *at)),
                ColumnFit::Whole | ColumnFit::Right | ColumnFit::Flows => None,
            };
            let Some((_, last)) = kept.iter().filter_map(spare).max() else { break };
            kept.retain(|at| *at != last);
        }
        kept
    }

    fn needed(&self, kept: &[usize]) -> usize {
        let widths = kept.iter().map(|at| match self.columns[*at].1 {
            ColumnFit::Flows => self.width(*at).min(FLOW_MIN),
            ColumnFit::Whole | ColumnFit::Right | ColumnFit::Spare(_) => self.width(*at),
        });
        widths.sum::<usize>() + GAP * kept.len().saturating_sub(1)
    }

    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].chars().count());
        cells.chain([self.columns[at].0.chars().count()]).max().unwrap_or_default()
    }

    fn is_empty(&self, at: usize) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row[at].is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(invoice: &str) -> TextTable {
        let columns = [
            ("invoice", ColumnFit::Whole),
            ("amount", ColumnFit::Right),
            ("empty", ColumnFit::Whole),
            ("merchant", ColumnFit::Spare(1)),
            ("status", ColumnFit::Spare(2)),
            ("why", ColumnFit::Flows),
        ];
        let mut table = TextTable::new(columns);
        for amount in ["Rp1", "Rp50.000"] {
            let cells =
                [invoice, amount, "", "a-merchant-of-ours", "SUCCESS", "one two three four five six seven"];
            table.row(cells.map(str::to_owned));
        }
        table
    }

    #[test]
    fn what_has_no_room_is_left_out_and_named_and_ids_are_never_broken() {
        let long = "I".repeat(40);
        let text = table(&long).print(Room::Columns(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.matches(&long).count(), 2, "{text}");
        assert!(text.ends_with("not shown: merchant, status (--wide shows them)"), "{text}");
        let text = table("INV-1").print(Room::Columns(80));
        assert!(text.contains("a-merchant-of-ours") && !text.contains("not shown"), "{text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(!words.contains(&"empty"), "{text}");
    }

    #[test]
    fn a_row_is_one_line_where_it_may_be_wide() {
        let text = table(&"I".repeat(64)).print(Room::Any);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines()
                .nth(1)
                .unwrap()
                .ends_with("Rp1  a-merchant-of-ours  SUCCESS  one two three four five six seven"),
            "{text}"
        );
    }
}
