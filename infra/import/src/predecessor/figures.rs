//! What rows come to: how many they are, and sums of what they say, so that both sides can be held against each other.
//!
//! Sums are exact, in hundredths: each amount is rounded to them as Intake does, half away from zero, and then added.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::predecessor::Table;

/// A sum, in hundredths of whatever is summed up. Written as a decimal number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sum(i128);

impl Sum {
    /// So many hundredths.
    #[must_use]
    pub const fn of_hundredths(hundredths: i128) -> Self {
        Self(hundredths)
    }

    /// How many hundredths.
    #[must_use]
    pub const fn hundredths(self) -> i128 {
        self.0
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Sum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, magnitude) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.to_string()
    }
}

impl FromStr for Sum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        rounded(text).map(|(sum, _)| sum).ok_or_else(|| format!("{text} is no decimal number"))
    }
}

impl TryFrom<String> for Sum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A decimal number in hundredths, and whether that took something off it.
fn rounded(text: &str) -> Option<(Sum, bool)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if (whole.is_empty() && fraction.is_empty()) || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // so many digits count; the one after them rounds
    let counting = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 2;
    let (mut units, mut lost, mut up) = (0_i128, false, false);
    for (at, digit) in (0_i64..).zip(digits().map(|digit| i128::from(digit - b'0'))) {
        if at < counting {
            units = units.checked_mul(10)?.checked_add(digit)?;
        } else {
            up |= at == counting && digit >= 5;
            lost |= digit != 0;
        }
    }
    let written = i64::try_from(whole.len() + fraction.len()).ok()?;
    for _ in written..counting {
        if units == 0 {
            break;
        }
        units = units.checked_mul(10)?;
    }
    units += i128::from(up);
    Some((Sum(if negative { -units } else { units }), lost))
}

/// How many rows there are, and what they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Sums by what is summed up: a field, for the totals of orders with their currency. Hundredths.
    pub sums: BTreeMap<String, Sum>,
    /// Amounts that have more than two decimals, and lose the others in Intake.
    #[serde(default)]
    pub rounded: u64,
}

/// The fields of a line that are counted or summed up.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    customer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    product_id: Option<&'a RawValue>,
    #[serde(borrow)]
    order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    order_item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    stock_event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    active: Option<&'a RawValue>,
    #[serde(borrow)]
    total_amount: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    unit_price: Option<&'a RawValue>,
    #[serde(borrow)]
    line_total: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<&'a RawValue>,
}

impl Figures {
    /// Counts one line of this table's, and gives the id in it; `None` where there is none. What is no number adds nothing.
    pub fn count(&mut self, table: Table, line: &[u8]) -> Option<Uuid> {
        self.rows += 1;
        let text = String::from_utf8_lossy(line);
        let fields: Fields<'_> = serde_json::from_str(&text).ok()?;
        let id = match table {
            Table::Tenants => None,
            Table::Customers => fields.customer_id,
            Table::Products => fields.product_id,
            Table::Orders => fields.order_id,
            Table::OrderItems => fields.order_item_id,
            Table::PriceHistory => fields.id,
            Table::StockEvents | Table::StockLevels => fields.stock_event_id,
        };
        match table {
            Table::Tenants | Table::Customers => {}
            Table::Products => {
                self.add("price", fields.price);
                let is_active = fields.active.is_none_or(|active| active.get() != "false");
                self.put("active", Sum(if is_active { 100 } else { 0 }));
            }
            Table::Orders => {
                let currency = scalar(fields.currency).unwrap_or("USD".into());
                self.add(&format!("total_amount {currency}"), fields.total_amount);
            }
            Table::OrderItems => {
                self.add("quantity", fields.quantity);
                match fields.line_total {
                    Some(total) => self.add("line_total", Some(total)),
                    None => {
                        let amount = |field| scalar(field).and_then(|text| rounded(&text)).map(|(sum, _)| sum.0);
                        if let (Some(quantity), Some(price)) = (amount(fields.quantity), amount(fields.unit_price)) {
                            self.put("line_total", Sum((quantity / 100).saturating_mul(price)));
                        }
                    }
                }
            }
            Table::PriceHistory => self.add("price", fields.price),
            Table::StockEvents => self.add("delta", fields.delta),
            Table::StockLevels => self.add("level", fields.set),
        }
        Uuid::try_parse(&scalar(id)?).ok()
    }

    fn add(&mut self, measure: &str, value: Option<&RawValue>) {
        if let Some((sum, is_rounded)) = scalar(value).and_then(|text| rounded(&text)) {
            self.rounded += u64::from(is_rounded);
            self.put(measure, sum);
        }
    }

    fn put(&mut self, measure: &str, sum: Sum) {
        match self.sums.get_mut(measure) {
            Some(known) => *known = *known + sum,
            None => drop(self.sums.insert(measure.to_owned(), sum)),
        }
    }

    /// Adds what other rows come to.
    pub fn extend(&mut self, other: &Self) {
        self.rows += other.rows;
        self.rounded += other.rounded;
        for (measure, sum) in &other.sums {
            self.put(measure, *sum);
        }
    }

    /// What the rows come to in this; nothing where it is not summed up.
    #[must_use]
    pub fn sum(&self, measure: &str) -> Sum {
        self.sums.get(measure).copied().unwrap_or_default()
    }
}

/// The text of a number or a string; `None` for null and what has parts.
fn scalar(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let token = value?.get();
    match token.as_bytes().first()? {
        b'"' if !token.contains('\\') => Some(Cow::Borrowed(&token[1..token.len() - 1])),
        b'"' => serde_json::from_str(token).ok().map(Cow::Owned),
        b'n' | b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(table: Table, lines: &[&str]) -> Figures {
        let mut figures = Figures::default();
        for line in lines {
            figures.count(table, line.as_bytes());
        }
        figures
    }

    fn sums(figures: &Figures) -> Vec<(&str, String)> {
        figures.sums.iter().map(|(measure, sum)| (measure.as_str(), sum.to_string())).collect()
    }

    #[test]
    fn decimals_are_summed_to_the_hundredth() {
        for (text, sum) in [
            ("0", "0.00"),
            ("19.99", "19.99"),
            ("0.005", "0.01"),
            ("1.005", "1.01"),
            ("-0.005", "-0.01"),
            ("0.0049999", "0.00"),
            ("1e3", "1000.00"),
            ("12.5E-1", "1.25"),
            ("99999999999999999999999999999", "99999999999999999999999999999.00"),
        ] {
            assert_eq!(text.parse::<Sum>().map(|sum| sum.to_string()), Ok(sum.to_owned()), "{text}");
        }
        for text in ["", "-", ".", "12,50", "NaN", "0x1", "1e", "1e99999999999", "1e200"] {
            assert!(text.parse::<Sum>().is_err(), "{text}");
        }
    }

    #[test]
    fn totals_are_told_by_currency_and_a_missing_one_is_the_dollar() {
        let lines = [
            r#"{"order_id": "6b0a5ad2-6c3e-4b52-9a53-1d0f7e5f4a10", "total_amount": "10.50", "currency": "EUR"}"#,
            r#"{"total_amount": 0.1, "currency": "EUR"}"#,
            r#"{"total_amount": "0.20"}"#,
            r#"{"total_amount": "-3", "currency": null}"#,
            r#"{"total_amount": "1.234", "currency": "EUR"}"#,
            r#"{"total_amount": "much"}"#,
        ];
        let figures = figures(Table::Orders, &lines);
        assert_eq!(
            sums(&figures),
            [("total_amount EUR", "11.83".to_owned()), ("total_amount USD", "-2.80".to_owned())]
        );
        assert_eq!((figures.rows, figures.rounded), (6, 1));
    }

    #[test]
    fn a_missing_line_total_is_quantity_times_price() {
        let lines =
            [r#"{"quantity": 3, "unit_price": "1.50"}"#, r#"{"quantity": "2", "unit_price": "1", "line_total": 5}"#];
        assert_eq!(
            sums(&figures(Table::OrderItems, &lines)),
            [("line_total", "9.50".to_owned()), ("quantity", "5.00".to_owned())]
        );
    }

    #[test]
    fn a_line_is_known_by_its_own_id_and_counts_without_one() {
        let id = "6b0a5ad2-6c3e-4b52-9a53-1d0f7e5f4a10";
        let mut figures = Figures::default();
        let line = format!(r#"{{"stock_event_id": "{id}", "product_id": "{}", "set": 4}}"#, Uuid::nil());
        assert_eq!(figures.count(Table::StockLevels, line.as_bytes()), id.parse().ok());
        assert_eq!(figures.count(Table::StockLevels, b"{\"set\": \xff}"), None);
        assert_eq!(figures.count(Table::StockLevels, b"{\"stock_event_id\": \"\xff\", \"set\": -1}"), None);
        assert_eq!((figures.rows, sums(&figures)), (3, vec![("level", "3.00".to_owned())]));
        let kept: Figures = serde_json::from_str(&serde_json::to_string(&figures).unwrap()).unwrap();
        assert_eq!(kept, figures);
    }
}
