//! The settlement as tables: CSV (RFC 4180) for programs, XLSX (ISO/IEC 29500) for people.

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use super::{Row, Sheet};
use crate::money::{Currency, percent};

/// An amount as a decimal number: `-12.50`.
fn decimal(minor: i64, currency: Currency) -> String {
    let exponent = currency.exponent() as usize;
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = exponent + 1);
    let (whole, part) = digits.split_at(digits.len() - exponent);
    let sign = if minor < 0 { "-" } else { "" };
    if exponent == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// What a row is about beside its account: a provider, a rate in per cent, a release.
#[must_use]
pub fn about(row: &Row) -> String {
    let release = || [row.artist.as_deref(), row.title.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let rate = |ppm: u32| format!("{} %", percent(ppm));
    row.provider.clone().or(row.tax_ppm.map(rate)).unwrap_or_else(release)
}

const HEAD: [&str; 7] = ["day", "account", "about", "release_id", "currency", "minor", "amount"];

/// The sheets as CSV: a line a day and account.
///
/// # Errors
/// Never in a house that was put together.
pub fn csv(sheets: &[Sheet]) -> Result<String, csv::Error> {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    table.write_record(HEAD)?;
    // A spreadsheet takes a cell that begins so for a formula.
    let safe = |words: String| if words.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{words}") } else { words };
    for sheet in sheets {
        for (day, row) in sheet.days.iter().flat_map(|day| day.rows.iter().map(move |row| (day.day, row))) {
            table.write_record([
                day.to_string(),
                row.account.name().to_owned(),
                safe(about(row)),
                row.release_id.map_or(String::new(), |id| id.to_string()),
                sheet.currency.to_string(),
                row.minor.to_string(),
                decimal(row.minor, sheet.currency),
            ])?;
        }
    }
    let bytes = table.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The sheets as a workbook: a worksheet a currency with the sums of the period, one with its days.
///
/// # Errors
/// Never in a house that was put together.
pub fn xlsx(sheets: &[Sheet]) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    let date = Format::new().set_num_format("yyyy-mm-dd");
    for sheet in sheets {
        let digits = sheet.currency.exponent();
        let money = Format::new().set_num_format(if digits == 0 { "#,##0".to_owned() } else { format!("#,##0.{}", "0".repeat(digits as usize)) });
        // Spreadsheets count in binary floating point: exact for amounts below 2^53 smallest units, as every spreadsheet is.
        let amount = |minor: i64| decimal(minor, sheet.currency).parse::<f64>().unwrap_or_default();
        let page = book.add_worksheet().set_name(sheet.currency.code())?;
        for (column, word) in (0_u16..).zip(["account", "about", "amount"]) {
            page.write_string_with_format(0, column, word, &bold)?;
        }
        for (line, row) in (1_u32..).zip(&sheet.rows) {
            page.write_string(line, 0, row.account.name())?.write_string(line, 1, about(row))?.write_number_with_format(line, 2, amount(row.minor), &money)?;
        }
        page.set_column_width(1, 40)?.set_column_width(2, 16)?;
        let page = book.add_worksheet().set_name(format!("{} by day", sheet.currency))?;
        for (column, word) in (0_u16..).zip(["day", "account", "about", "amount"]) {
            page.write_string_with_format(0, column, word, &bold)?;
        }
        let rows = sheet.days.iter().flat_map(|day| day.rows.iter().map(move |row| (day.day, row)));
        for (line, (day, row)) in (1_u32..).zip(rows) {
            page.write_datetime_with_format(line, 0, day, &date)?.write_string(line, 1, row.account.name())?;
            page.write_string(line, 2, about(row))?.write_number_with_format(line, 3, amount(row.minor), &money)?;
        }
        page.set_column_width(0, 12)?.set_column_width(2, 40)?.set_column_width(3, 16)?;
    }
    if sheets.is_empty() {
        book.add_worksheet().write_string(0, 0, "nothing was sold in this time")?;
    }
    book.save_to_buffer()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_decimal_number() {
        let of = |minor, currency: &str| decimal(minor, currency.parse().unwrap());
        assert_eq!([of(-1_250, "EUR"), of(5, "EUR"), of(500, "JPY"), of(-7, "KWD")], ["-12.50", "0.05", "500", "-0.007"]);
    }
}
