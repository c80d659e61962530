//! Both sides of an import held against each other: what the source says, what was read of it, what Intake refused and what
//! it has now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::predecessor::{Figures, Sum, Table};

/// What became of the rows of one table of a tenant's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What the source itself says: how many there are, and the sums that it can make exactly.
    pub source: Figures,
    /// What the lines come to that were made of them.
    pub read: Figures,
    /// Those of the lines that were refused.
    pub rejected: Figures,
    /// How often they were refused for what; a line may be for several reasons.
    pub codes: BTreeMap<String, u64>,
    /// How many lines Intake says it has taken: inserted, updated or unchanged.
    pub promoted: u64,
    /// What Intake has of these very rows, looked for by their ids.
    pub intake: Figures,
    /// Rows of the tenant's that Intake has besides.
    pub others: u64,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is compared: `rows`, or what is summed up.
    pub measure: String,
    /// At the source.
    pub source: String,
    /// Of what was refused.
    pub rejected: String,
    /// In Intake.
    pub intake: String,
    /// What does not agree; nothing when all does.
    pub disagreements: Vec<String>,
}

/// What is counted in whole units; everything else is an amount.
const WHOLE: [&str; 4] = ["active", "delta", "level", "quantity"];

/// Holds the sides of an account against each other, rows first.
#[must_use]
pub fn reconcile(table: Table, account: &Account) -> Vec<Line> {
    let Account { source, read, rejected, promoted, intake, .. } = account;
    let mut disagreements = Vec::new();
    if source.rows != read.rows {
        disagreements.push(format!("the source counts {} rows, and gave {}", source.rows, read.rows));
    }
    if read.rows != promoted + rejected.rows {
        let lost = format!("of {} rows {promoted} were taken and {} refused", read.rows, rejected.rows);
        disagreements.push(lost);
    }
    if intake.rows != *promoted {
        disagreements.push(format!("{promoted} rows were taken, and {} of them are there", intake.rows));
    }
    let rows = Line {
        measure: "rows".to_owned(),
        source: source.rows.to_string(),
        rejected: rejected.rows.to_string(),
        intake: intake.rows.to_string(),
        disagreements,
    };
    let measures: BTreeSet<_> = [source, read, intake].into_iter().flat_map(|figures| figures.sums.keys()).collect();
    let sums = measures.into_iter().map(|measure| {
        let [read, rejected, intake] = [read, rejected, intake].map(|figures| figures.sum(measure));
        let told = source.sums.get(measure).copied();
        let show = |sum: Sum| spelled(measure, sum);
        let mut disagreements = Vec::new();
        if let Some(told) = told.filter(|told| *told != read) {
            disagreements.push(format!("the source adds up to {}, and what it gave to {}", show(told), show(read)));
        }
        let expected = read - rejected;
        if expected != intake {
            let what = if table == Table::StockLevels { "what moved them since is not in the source" } else { "" };
            let hint = if what.is_empty() { String::new() } else { format!("; {what}") };
            disagreements.push(format!("{} were to come, and {} are there{hint}", show(expected), show(intake)));
        }
        Line {
            measure: measure.clone(),
            source: show(told.unwrap_or(read)),
            rejected: show(rejected),
            intake: show(intake),
            disagreements,
        }
    });
    std::iter::once(rows).chain(sums).collect()
}

fn spelled(measure: &str, sum: Sum) -> String {
    match WHOLE.contains(&measure) && sum.hundredths() % 100 == 0 {
        true => (sum.hundredths() / 100).to_string(),
        false => sum.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: u64, sums: &[(&str, i128)]) -> Figures {
        let sums = sums.iter().map(|(measure, sum)| ((*measure).to_owned(), Sum::of_hundredths(*sum))).collect();
        Figures { rows, sums, rounded: 0 }
    }

    fn account() -> Account {
        Account {
            source: figures(3, &[("total_amount EUR", 1_000), ("total_amount USD", 50)]),
            read: figures(3, &[("total_amount EUR", 1_000), ("total_amount USD", 50)]),
            rejected: figures(1, &[("total_amount EUR", 400)]),
            codes: BTreeMap::from([("INVALID_CURRENCY".to_owned(), 1)]),
            promoted: 2,
            intake: figures(2, &[("total_amount EUR", 600), ("total_amount USD", 50)]),
            others: 7,
        }
    }

    fn disagreements(account: &Account) -> Vec<String> {
        reconcile(Table::Orders, account).into_iter().flat_map(|line| line.disagreements).collect()
    }

    #[test]
    fn what_was_refused_and_what_is_there_is_all_there_was() {
        let lines = reconcile(Table::Orders, &account());
        assert!(lines.iter().all(|line| line.disagreements.is_empty()), "{lines:?}");
        let line =
            |line: &Line| [line.measure.clone(), line.source.clone(), line.rejected.clone(), line.intake.clone()];
        assert_eq!(line(&lines[0]), ["rows", "3", "1", "2"]);
        assert_eq!(line(&lines[1]), ["total_amount EUR", "10.00", "4.00", "6.00"]);
    }

    #[test]
    fn each_side_that_differs_is_named() {
        type Change = fn(&mut Account);
        let cases: [(Change, &str); 6] = [
            (|account| account.source.rows = 4, "the source counts 4 rows, and gave 3"),
            (|account| account.rejected.rows = 0, "of 3 rows 2 were taken and 0 refused"),
            (|account| account.intake.rows = 1, "2 rows were taken, and 1 of them are there"),
            (
                |account| account.source = figures(3, &[("total_amount EUR", 999)]),
                "adds up to 9.99, and what it gave to 10.00",
            ),
            (
                |account| account.intake = figures(2, &[("total_amount EUR", 601)]),
                "6.00 were to come, and 6.01 are there",
            ),
            (
                |account| account.intake.sums.extend([("total_amount GBP".to_owned(), Sum::of_hundredths(1))]),
                "0.00 were to come, and 0.01 are there",
            ),
        ];
        for (change, expected) in cases {
            let mut account = account();
            change(&mut account);
            let found = disagreements(&account);
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn what_the_source_cannot_add_is_held_against_what_it_gave() {
        let mut account = account();
        account.source.sums.clear();
        assert_eq!(disagreements(&account), Vec::<String>::new());
        assert_eq!(spelled("quantity", Sum::of_hundredths(700)), "7");
        assert_eq!(spelled("price", Sum::of_hundredths(700)), "7.00");
    }
}
