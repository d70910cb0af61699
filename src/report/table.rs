//! Tables and numbers for a reader at a terminal.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A terminal is as wide as it says, and where there is none, this wide.
const WIDTH: u16 = 160;

/// In a column of this width a longer value still reads well when it is broken.
const READABLE: usize = 20;

/// A table with a header; columns whose name is in `right` are aligned to the right. It keeps to the terminal's width, or to 160 columns
/// where there is no terminal.
pub fn plain_table(
    header: &[&str],
    right: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.iter().map(|text| Cell::new(printable(text))));
    }
    for (index, name) in header.iter().enumerate() {
        if right.contains(name)
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Rows as a table or, if so many columns would be too narrow to read, one row below the other. Then columns without any value are only
/// named.
pub(crate) fn table_or_records(header: &[&str], right: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = Table::new().width().unwrap_or(WIDTH);
    if fits(header, &rows, width.into()) {
        plain_table(header, right, rows)
    } else {
        records(header, &rows)
    }
}

fn fits(header: &[&str], rows: &[Vec<String>], width: usize) -> bool {
    const BETWEEN: usize = 3;
    let needed = header.iter().enumerate().map(|(column, name)| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(name.len()).min(READABLE) + BETWEEN
    });
    needed.sum::<usize>() <= width
}

fn records(header: &[&str], rows: &[Vec<String>]) -> String {
    let has_value = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| !cell.is_empty())
    };
    let (shown, empty): (Vec<usize>, Vec<usize>) =
        (0..header.len()).partition(|column| has_value(*column));
    let mut text = String::new();
    for (number, row) in (1..).zip(rows) {
        let pairs: Vec<(&str, String)> = shown
            .iter()
            .filter_map(|&column| Some((header[column], row.get(column)?.clone())))
            .collect();
        text.push_str(&format!("── row {number}\n{}", key_values(&pairs)));
    }
    if !empty.is_empty() {
        let names: Vec<&str> = empty.iter().map(|&column| header[column]).collect();
        text.push_str(&format!("── without a value: {}\n", names.join(" ")));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Names and values, one a line, the values lined up.
pub fn key_values(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", printable(value)))
        .collect()
}

/// Without control characters: tags and log lines are written by others, and must not steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A number with thousands apart.
pub fn human_count(number: u64) -> String {
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

/// A number of bytes in the largest unit that leaves something before the point.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(999), "999");
        assert_eq!(human_count(1_234_567), "1,234,567");
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(4_274_520), "4.3 MB");
    }

    #[test]
    fn many_columns_become_records() {
        let names: Vec<String> = (0..30).map(|column| format!("column_{column}")).collect();
        let header: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut row = vec!["10.20.30.40".to_owned(); 30];
        row[29].clear();
        let text = table_or_records(&header, &[], vec![row.clone(), row]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * 30 + 1);
        assert_eq!(lines[..2], ["── row 1", "column_0   10.20.30.40"]);
        assert_eq!(lines[60], "── without a value: column_29");
        let few = table_or_records(&header[..3], &[], vec![vec!["x".repeat(300); 3]]);
        assert!(few.contains("column_0") && !few.contains("row 1"), "{few}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!plain_table(&["a"], &[], [vec!["x\u{1b}[31m".to_owned()]]).contains('\u{1b}'));
    }
}
