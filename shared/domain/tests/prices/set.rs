//! A labelled set of price events: five kinds of products, five kinds of feeds' faults, from a seed.
//!
//! Only the four operations and the square root are used, which IEEE 754 rounds the same way everywhere: a seed means
//! the same set on every machine. How shops change their prices is taken from what was found in the prices behind the
//! consumer price index of the United States: changes are large, of the order of 10 % (Klenow and Kryvtsov, 2008), but
//! many are small (Klenow and Malin, Microeconomic Evidence on Price-Setting, 2010), and one third of those that are no
//! sales are cuts (Nakamura and Steinsson, Five Facts about Prices, 2008).

/// A source of numbers: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, which is left out.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number, both ends included.
    fn whole(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.whole(0, from.len() - 1)]
    }

    /// About normal, with mean 0 and deviation 1: twelve uniform numbers less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// e to the power of `x`, by (1 + x/1024)^1024 with the next term of the series.
fn exp(x: f64) -> f64 {
    let small = x / 1024.0;
    let mut power = 1.0 + small + small * small / 2.0;
    for _ in 0..10 {
        power *= power;
    }
    power
}

/// A wave of period 1 between -1 and 1, of parabolas.
fn wave(x: f64) -> f64 {
    let x = 2.0 * (x - x.floor()) - 1.0;
    4.0 * x * (1.0 - x.abs())
}

/// How a product's price moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Seldom, by a few percent; a sale once in a long while.
    Stable,
    /// Up and down with the year, a little at every step.
    Seasonal,
    /// In one direction, a little at every step.
    Trending,
    /// Sales of 20 to 60 % again and again, and back.
    Promotional,
    /// By several percent at every step, at times by a third.
    Volatile,
}

/// What went wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The decimal point is one or two places off.
    Decimal,
    /// Two neighbouring digits are swapped.
    Swapped,
    /// A feed that is behind sends a change that was true once.
    Stale,
    /// The price is in another currency.
    Currency,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Stable, Self::Seasonal, Self::Trending, Self::Promotional, Self::Volatile];
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Decimal, Self::Swapped, Self::Stale, Self::Currency];
}

/// What happens to a product, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A price event, and what is wrong with it.
    Event { old_cents: i64, new_cents: i64, fault: Option<Fault> },
    /// The price is changed in the shop itself, which the feed does not learn.
    Edit { cents: i64 },
}

/// A product and what happens to it.
pub(crate) struct Product {
    pub(crate) kind: Kind,
    /// Its price before the first step.
    pub(crate) cents: i64,
    pub(crate) steps: Vec<Step>,
}

/// What a set consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Products of each kind.
    pub(crate) products: usize,
    /// Steps of each product; at a step the price may change.
    pub(crate) steps: usize,
    /// The share of events that something is wrong with.
    pub(crate) faults: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { products: 40, steps: 120, faults: 0.02 }
    }
}

/// The set of a seed.
pub(crate) fn generate(seed: u64, plan: Plan) -> Vec<Product> {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let kinds = Kind::ALL.into_iter().flat_map(|kind| std::iter::repeat_n(kind, plan.products));
    kinds.map(|kind| product(kind, plan, &mut random)).collect()
}

/// To cents, at least one.
fn cents(price: f64) -> i64 {
    ((price * 100.0 + 0.5) as i64).clamp(1, 999_999_999_999)
}

/// A price as shops like it: most end in .99 or a round sum.
fn charm(price: f64, random: &mut Random) -> i64 {
    match random.whole(0, 9) {
        0..=5 => (cents(price) / 100 * 100 + 99).max(1),
        6..=7 => (cents(price) / 50 * 50).max(50),
        _ => cents(price),
    }
}

/// The prices that a product really has, step by step.
fn truth(kind: Kind, steps: usize, random: &mut Random) -> Vec<i64> {
    let base = exp(3.2 + 1.2 * random.normal()).clamp(0.8, 5_000.0);
    match kind {
        Kind::Stable => stable(base, steps, random),
        Kind::Promotional => promotional(base, steps, random),
        Kind::Seasonal => {
            let (amplitude, period, phase) =
                (random.between(0.10, 0.35), random.between(26.0, 60.0), random.between(0.0, 1.0));
            let noise = random.between(0.003, 0.015);
            let at = |step: usize| amplitude * wave(step as f64 / period + phase);
            (0..steps).map(|step| cents(base * exp(at(step) + noise * random.normal()))).collect()
        }
        Kind::Trending => {
            let drift = random.between(0.002, 0.015) * random.pick(&[1.0, 1.0, -1.0]);
            let noise = random.between(0.003, 0.010);
            (0..steps).map(|step| cents(base * exp(drift * step as f64 + noise * random.normal()))).collect()
        }
        Kind::Volatile => {
            let spread = random.between(0.04, 0.09);
            let mut off = 0.0;
            let mut next = || {
                off = 0.9 * off + spread * random.normal();
                if random.chance(0.03) {
                    off += random.between(0.2, 0.35) * random.pick(&[1.0, -1.0]);
                }
                cents(base * exp(off))
            };
            (0..steps).map(|_| next()).collect()
        }
    }
}

/// The size of a regular change, as a factor.
fn regular(random: &mut Random) -> f64 {
    let size = match random.whole(0, 9) {
        0..=3 => random.between(0.005, 0.03),
        4..=8 => random.between(0.03, 0.12),
        _ => random.between(0.12, 0.25),
    };
    // two of three regular changes are rises (Nakamura and Steinsson)
    if random.chance(0.67) { 1.0 + size } else { 1.0 - size }
}

fn stable(base: f64, steps: usize, random: &mut Random) -> Vec<i64> {
    let mut regular_price = charm(base, random);
    let (mut sale, mut left) = (0, 0);
    let mut prices = Vec::with_capacity(steps);
    for _ in 0..steps {
        if left > 0 {
            left -= 1;
        } else if random.chance(0.005) {
            left = random.whole(4, 10);
            sale = charm(regular_price as f64 / 100.0 * (1.0 - random.between(0.2, 0.4)), random);
        } else if random.chance(0.08) {
            regular_price = charm(regular_price as f64 / 100.0 * regular(random), random);
        }
        prices.push(if left > 0 { sale } else { regular_price });
    }
    prices
}

fn promotional(base: f64, steps: usize, random: &mut Random) -> Vec<i64> {
    let mut regular_price = charm(base, random);
    // half of the shops know a few depths, the others take any
    let usual: Vec<f64> = (0..random.whole(1, 3)).map(|_| random.pick(&[0.2, 0.25, 0.3, 0.4, 0.5, 0.6])).collect();
    let has_usual = random.chance(0.5);
    let (mut sale, mut left, mut pause) = (0, 0, random.whole(0, 20));
    let mut prices = Vec::with_capacity(steps);
    for _ in 0..steps {
        if left > 0 {
            left -= 1;
            if left == 0 && random.chance(0.15) {
                regular_price = charm(regular_price as f64 / 100.0 * regular(random), random);
            }
        } else if pause > 0 {
            pause -= 1;
        } else {
            let depth = if has_usual { random.pick(&usual) } else { random.between(0.2, 0.6) };
            (left, pause) = (random.whole(3, 8), random.whole(5, 20));
            sale = charm(regular_price as f64 / 100.0 * (1.0 - depth), random).min(regular_price);
        }
        prices.push(if left > 0 { sale } else { regular_price });
    }
    prices
}

/// What is left over of a fault when the next event comes.
#[derive(Clone, Copy)]
enum Aftermath {
    Nothing,
    /// The feed itself holds the wrong price and will correct it.
    Correct,
    /// The feed stays wrong by this factor for so many more events.
    Stuck(Fault, f64, usize),
}

fn product(kind: Kind, plan: Plan, random: &mut Random) -> Product {
    let prices = truth(kind, plan.steps, random);
    let sends_all = random.chance(0.4);
    let (mut believed, mut shop) = (prices[0], prices[0]);
    let mut passed = vec![prices[0]];
    let mut after = Aftermath::Nothing;
    let mut steps = Vec::new();
    for &price in &prices[1..] {
        let sent = if let Aftermath::Stuck(_, factor, _) = after { scaled(price, factor) } else { price };
        if !sends_all && sent == believed {
            continue;
        }
        if passed.last() != Some(&price) {
            passed.push(price);
        }
        let (mut new_cents, mut fault, mut next) = (sent, None, Aftermath::Nothing);
        if let Aftermath::Stuck(kind, factor, left) = after {
            fault = Some(kind);
            next = if left > 1 { Aftermath::Stuck(kind, factor, left - 1) } else { Aftermath::Correct };
        } else if random.chance(plan.faults) {
            let wrong = match random.pick(&Fault::ALL) {
                Fault::Stale => {
                    // an old message comes again, beside the one that is due
                    if let Some((from, to)) = outdated(&passed, price, random) {
                        steps.push(Step::Event { old_cents: believed, new_cents: price, fault: None });
                        believed = price;
                        // some feeds look up our price and send only the new one of their own
                        let old_cents = if random.chance(0.2) { price } else { from };
                        steps.push(Step::Event { old_cents, new_cents: to, fault: Some(Fault::Stale) });
                        shop = to;
                        after = Aftermath::Nothing;
                        continue;
                    }
                    None
                }
                Fault::Swapped => swapped(price, random).map(|wrong| (Fault::Swapped, wrong, 1.0)),
                Fault::Decimal => {
                    let factor = random.pick(&[10.0, 10.0, 10.0, 10.0, 0.1, 0.1, 0.1, 100.0, 100.0, 0.01]);
                    Some((Fault::Decimal, scaled(price, factor), factor))
                }
                Fault::Currency => {
                    let factor = random.pick(&[1.08, 0.85, 1.35, 150.0]);
                    Some((Fault::Currency, scaled(price, factor), factor))
                }
            };
            if let Some((kind, wrong, factor)) = wrong.filter(|(_, wrong, _)| *wrong != price) {
                (new_cents, fault) = (wrong, Some(kind));
                let is_stuck = kind != Fault::Swapped && random.chance(0.15);
                next = match random.chance(0.6) {
                    _ if is_stuck => Aftermath::Stuck(kind, factor, random.whole(1, 4)),
                    true => Aftermath::Correct,
                    false => Aftermath::Nothing,
                };
            }
        }
        if fault.is_none() && random.chance(0.003) {
            // lost on its way
            believed = price;
            after = Aftermath::Nothing;
            continue;
        }
        if random.chance(0.002) {
            shop = scaled(shop, random.between(0.9, 1.1));
            steps.push(Step::Edit { cents: shop });
        }
        steps.push(Step::Event { old_cents: believed, new_cents, fault });
        shop = new_cents;
        // a price that was garbled on its way is right where it came from
        believed = if matches!(next, Aftermath::Nothing) { price } else { new_cents };
        after = next;
    }
    Product { kind, cents: prices[0], steps }
}

fn scaled(price: i64, factor: f64) -> i64 {
    cents(price as f64 / 100.0 * factor)
}

/// Two neighbouring digits change places; none where all are the same.
fn swapped(price: i64, random: &mut Random) -> Option<i64> {
    let digits = price.to_string().into_bytes();
    let places: Vec<usize> = (1..digits.len()).filter(|at| digits[at - 1] != digits[*at]).collect();
    let at = if places.is_empty() { return None } else { random.pick(&places) };
    let mut digits = digits;
    digits.swap(at - 1, at);
    let wrong = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    (wrong > 0).then_some(wrong)
}

/// A change between two of the prices that are passed, to one that is not right now.
fn outdated(passed: &[i64], price: i64, random: &mut Random) -> Option<(i64, i64)> {
    let back = random.whole(2, 20);
    let at = passed.len().checked_sub(back + 1)?;
    (passed[at + 1] != price).then(|| (passed[at], passed[at + 1]))
}
