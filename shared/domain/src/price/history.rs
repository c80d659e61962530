//! What a product's prices tell about the next one.
//!
//! Prices are compared by the logarithm of their ratio: a price is multiplied when something goes wrong with it, and
//! when it is put on sale. These numbers judge and are not money; they are the only ones here that are not whole.

use super::change::{Threshold, money};
use super::{Code, Ground, Known, Reason};

/// The fewest prices from which anything is concluded.
const FEWEST: usize = 5;

/// More robust deviations than this are unusual: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993.
const LIMIT: f64 = 3.5;

/// The median absolute deviation of a normal distribution, in standard deviations (the same source).
const MAD_OF_NORMAL: f64 = 0.6745;

/// A standard deviation over the mean absolute deviation, for a normal distribution: the square root of half of pi. It
/// serves where more than half of the prices are the same and the median deviation is 0.
const DEVIATION_OF_MEAN: f64 = 1.253_314;

/// No price is steadier than this share of itself. Without it a product that always cost 10.00 could not be sold for
/// 10.01; with it, `LIMIT` times this, 7 %, is usual for any product. Of the changes that shops make many are larger
/// (Klenow and Kryvtsov, 2008: of the order of 10 %), so a lower floor finds little but those.
const FLOOR: f64 = 0.02;

/// A deviation that was taken from few changes may be far too small: it is widened by this share over their number.
const WIDENED: f64 = 2.0;

/// With fewer changes than this a product is not known to be one that is never on sale: a cut that is not extreme may
/// be its first.
const BEFORE_SALES: usize = 8;

/// So many different prices back, a price counts as returned to. A sale ends, a wrong price is corrected, and both take
/// a step or two; a longer memory would excuse outdated prices.
const RETURNS: usize = 5;

/// An earlier change excuses one in the same direction that is up to so many times as large, in logarithms: a product
/// that was cut by 30 % is known for cuts of up to 41 %.
const LIKE: f64 = 1.5;

/// A change by this factor is not excused by another, however often it has been: it may be a shifted decimal point, and
/// an imported history may hold such.
const FAR: f64 = 8.0;

/// How often in a row a flagged price must be sent before the product is taken to cost that: nothing is learnt from
/// what was flagged, but a shop that stays with its price is right, and every further event would be suspect for ever.
const INSISTED: usize = 3;

/// A product's prices, prepared.
pub(super) struct History {
    /// The prices that were not flagged, newest first, without repetitions in a row.
    known: Vec<i64>,
    /// Where there are enough: the median of their logarithms, and their deviation.
    level: Option<(f64, f64)>,
    /// The median of the prices that were not flagged, in cents.
    median: Option<i64>,
    /// How many of them there are, repetitions counted.
    prices: usize,
    /// The deviation of the changes between them.
    change: f64,
    /// What the product costs now, if known.
    price: Option<i64>,
}

impl History {
    pub(super) fn new(product: &Known<'_>) -> Self {
        let recent = product.recent;
        let flagged_run = recent.iter().take_while(|price| price.flagged).count();
        let mut known: Vec<i64> = recent.iter().filter(|price| !price.flagged).map(|price| price.cents).collect();
        // a price that was set otherwise than by an event is in no list, and was not flagged
        let price = product.price_cents;
        if let Some(cents) = price.filter(|cents| recent.iter().take(flagged_run + 1).all(|one| one.cents != *cents)) {
            known.insert(0, cents);
        }

        let mut sorted: Vec<i64> = known.iter().copied().filter(|cents| *cents > 0).collect();
        sorted.sort_unstable();
        let (prices, median) = (sorted.len(), sorted.get(sorted.len() / 2).copied());
        let level = (prices >= FEWEST).then(|| level(&sorted));

        known.dedup();
        let mut sizes: Vec<f64> = changes(&known).map(f64::abs).collect();
        let widened = 1.0 + WIDENED / sizes.len().max(FEWEST - 1) as f64;
        let change = (middle(&mut sizes) / MAD_OF_NORMAL).max(FLOOR) * widened;
        let mut history = Self { known, level, median, prices, change, price };

        let run = &recent[..flagged_run.min(INSISTED)];
        if let Some(newest) = run.first()
            && run.len() == INSISTED
            && price == Some(newest.cents)
            && run.iter().all(|one| history.is_near(one.cents, newest.cents))
        {
            history.known.insert(0, newest.cents);
        }
        history
    }

    /// The median of the prices that were not flagged, in cents.
    pub(super) fn median(&self) -> Option<i64> {
        self.median
    }

    /// Why a change to `new` is suspect, if it is.
    pub(super) fn ground(&self, old: i64, new: i64, threshold: Option<Threshold>) -> Option<Ground> {
        if self.is_retold(old, new) {
            return Some(Ground::Retold);
        }
        if self.known.iter().take(RETURNS).any(|known| self.is_near(*known, new)) {
            return None;
        }
        let newest = self.known.first().filter(|_| self.prices >= FEWEST);
        let Some(newest) = newest.copied() else {
            // what the sender takes for the old price may be anything, so both are held against the new one
            let own = self.price.and_then(|price| Threshold::crossed(price, new));
            return [threshold, own].contains(&Some(Threshold::Extreme)).then_some(Ground::Extreme);
        };
        let is_first_sale = self.known.len() <= BEFORE_SALES && new < newest && !is_extreme(newest, new);
        let change = ratio(newest, new);
        if is_first_sale || self.has_been(change) { None } else { Some(Ground::Unusual(change.abs() / self.change)) }
    }

    /// The reason that `new` is unusual for the product, if it is.
    pub(super) fn unusual(&self, new: i64, ground: Option<Ground>) -> Option<Reason> {
        if let Some((center, deviation)) = self.level {
            let score = ((new as f64).ln() - center).abs() / deviation;
            if score > LIMIT {
                let (count, median) = (self.prices, money(self.median.unwrap_or_default()));
                let detail = format!("far from {median}, the median of the {count} recent prices");
                return Some(Reason::new(Code::RobustZ, score, detail));
            }
        }
        let Some(Ground::Unusual(score)) = ground else { return None };
        // an extreme change is not usual for any product, see `is_near`
        let usual = ((self.change * LIMIT).exp_m1() * 100.0).min(50.0);
        let detail = format!("the change is larger than the {usual:.1} % that are usual for the product");
        Some(Reason::new(Code::RobustZ, score, detail))
    }

    /// Whether the event tells a change over again that was made before the last one. One that is a single change
    /// behind is more often a message that was lost, and one whose new price is unknown knows more than we do.
    fn is_retold(&self, old: i64, new: i64) -> bool {
        self.price.is_some_and(|price| price != old && price != new)
            && !self.known.iter().take(2).any(|known| *known == old)
            && self.known.contains(&old)
            && self.known.contains(&new)
    }

    /// Whether two prices differ by no more than is usual, and by less than what is extreme for any product.
    fn is_near(&self, known: i64, new: i64) -> bool {
        known == new || (!is_extreme(known, new) && ratio(known, new).abs() <= LIMIT * self.change)
    }

    /// Whether the product's price has made such a change before.
    fn has_been(&self, change: f64) -> bool {
        let far = FAR.ln();
        let is_like = |other: f64| other.signum() == change.signum() && other.abs() * LIKE >= change.abs();
        change.abs() < far && changes(&self.known).any(|other| other.abs() < far && is_like(other))
    }
}

/// The logarithm of how many times `from` the price `to` is.
fn ratio(from: i64, to: i64) -> f64 {
    (to as f64 / from as f64).ln()
}

/// The logarithms of the changes that led to each of `known`, newest first.
fn changes(known: &[i64]) -> impl Iterator<Item = f64> {
    known.windows(2).filter(|pair| pair[0] > 0 && pair[1] > 0).map(|pair| ratio(pair[1], pair[0]))
}

/// Whether a change is extreme; every one from zero is.
fn is_extreme(from: i64, to: i64) -> bool {
    from <= 0 || Threshold::crossed(from, to) == Some(Threshold::Extreme)
}

/// The median of the logarithms of sorted prices, and their deviation from it.
fn level(sorted: &[i64]) -> (f64, f64) {
    let logs: Vec<f64> = sorted.iter().map(|cents| (*cents as f64).ln()).collect();
    let center = f64::midpoint(logs[(logs.len() - 1) / 2], logs[logs.len() / 2]);
    let mut sizes: Vec<f64> = logs.iter().map(|log| (log - center).abs()).collect();
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    let mad = middle(&mut sizes);
    let deviation = if mad > 0.0 { mad / MAD_OF_NORMAL } else { mean * DEVIATION_OF_MEAN };
    (center, deviation.max(FLOOR))
}

/// The median, or 0 of nothing.
fn middle(numbers: &mut [f64]) -> f64 {
    if numbers.is_empty() {
        return 0.0;
    }
    let at = numbers.len() / 2;
    let is_even = numbers.len().is_multiple_of(2);
    let (below, upper, _) = numbers.select_nth_unstable_by(at, f64::total_cmp);
    if !is_even {
        return *upper;
    }
    f64::midpoint(below.iter().copied().fold(f64::MIN, f64::max), *upper)
}
