//! How well wrong prices are found, on a set that says of each event whether it is wrong. The table for people is held
//! against the code; `INTAKE_WRITE_DOCS=1 cargo test -p intake-domain --test prices` writes it anew.

mod set;

use intake_domain::price::{Code, Known, PriceEvent, RecentPrice, Verdict, detect};
use set::{Fault, Kind, Plan, Product, Step, generate};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

/// The seeds that the table is made from. The limits of the rules were chosen on seeds 0 to 9.
const SEEDS: Range<u64> = 100..120;

/// How many of a product's prices are looked at, as `price-api` reads them.
const RECENT: usize = 200;

/// How often a detector was right.
#[derive(Clone, Copy, Default)]
struct Score {
    wrong_found: u32,
    wrong_missed: u32,
    right_flagged: u32,
    right_passed: u32,
}

impl Score {
    fn add(&mut self, is_wrong: bool, is_found: bool) {
        *match (is_wrong, is_found) {
            (true, true) => &mut self.wrong_found,
            (true, false) => &mut self.wrong_missed,
            (false, true) => &mut self.right_flagged,
            (false, false) => &mut self.right_passed,
        } += 1;
    }

    fn merge(&mut self, other: Self) {
        self.wrong_found += other.wrong_found;
        self.wrong_missed += other.wrong_missed;
        self.right_flagged += other.right_flagged;
        self.right_passed += other.right_passed;
    }

    /// Of the events that were flagged, the percentage that is wrong.
    fn precision(self) -> f64 {
        share(self.wrong_found, self.wrong_found + self.right_flagged)
    }

    /// Of the events that are wrong, the percentage that was flagged.
    fn recall(self) -> f64 {
        share(self.wrong_found, self.wrong_found + self.wrong_missed)
    }

    /// Of the events that are right, the percentage that was flagged.
    fn false_alarms(self) -> f64 {
        share(self.right_flagged, self.right_flagged + self.right_passed)
    }

    fn events(self) -> u32 {
        self.wrong_found + self.wrong_missed + self.right_flagged + self.right_passed
    }

    fn wrong(self) -> u32 {
        self.wrong_found + self.wrong_missed
    }
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1)) * 100.0
}

/// What decides whether an event is flagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detector {
    Thresholds,
    Suspect,
    Detected,
    AnyReason,
}

impl Detector {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Thresholds, "the predecessor's thresholds alone"),
        (Self::Suspect, "ours: `suspect`"),
        (Self::Detected, "either: `anomaly_detected`"),
        (Self::AnyReason, "any of the reasons"),
    ];

    fn flags(self, verdict: &Verdict) -> bool {
        let is_threshold =
            |code| matches!(code, Code::ThresholdExtreme | Code::ThresholdSignificant | Code::ThresholdNotable);
        match self {
            Self::Thresholds => verdict.reasons.iter().any(|reason| is_threshold(reason.code)),
            Self::Suspect => verdict.suspect,
            Self::Detected => verdict.anomaly_detected,
            Self::AnyReason => !verdict.reasons.is_empty(),
        }
    }
}

/// By detector, kind of product and fault.
type Scores = BTreeMap<(Detector, Kind, Option<Fault>), Score>;

/// The sum of the scores that are asked for.
fn sum(scores: &Scores, is_asked: impl Fn(Detector, Kind, Option<Fault>) -> bool) -> Score {
    let mut sum = Score::default();
    for (_, score) in scores.iter().filter(|((detector, kind, fault), _)| is_asked(*detector, *kind, *fault)) {
        sum.merge(*score);
    }
    sum
}

/// What becomes of a suspect price.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// It is the product's price until the next.
    Warn,
    /// It is held, and before the next one comes a person has approved it or not, rightly.
    Hold,
}

/// Sends a product's events as they come.
fn send(product: &Product, policy: Policy, scores: &mut Scores) {
    let mut price = product.cents;
    let mut recent = vec![RecentPrice { cents: price, flagged: false }];
    for step in &product.steps {
        match *step {
            Step::Edit { cents } => {
                price = cents;
                recent.insert(0, RecentPrice { cents, flagged: false });
            }
            Step::Event { old_cents, new_cents, fault } => {
                recent.truncate(RECENT);
                let known = Known { price_cents: Some(price), recent: &recent };
                let verdict = detect(&PriceEvent { old_cents, new_cents }, &known);
                for (detector, _) in Detector::ALL {
                    let score = scores.entry((detector, product.kind, fault)).or_default();
                    score.add(fault.is_some(), detector.flags(&verdict));
                }
                let is_held = verdict.suspect && policy == Policy::Hold;
                if !(is_held && fault.is_some()) {
                    price = new_cents;
                    recent.insert(0, RecentPrice { cents: new_cents, flagged: verdict.suspect && !is_held });
                }
            }
        }
    }
}

fn measure(seeds: Range<u64>, plan: Plan, policy: Policy) -> Scores {
    let mut scores = Scores::new();
    for product in seeds.flat_map(|seed| generate(seed, plan)) {
        send(&product, policy, &mut scores);
    }
    scores
}

/// One row of the first table: the detector over all seeds, and the lowest and highest of one.
fn spread(name: &str, detector: Detector, seeds: &[Scores]) -> String {
    let of = |scores: &Scores| sum(scores, |one, _, _| one == detector);
    let all = of(&total(seeds));
    let cell = |measure: fn(Score) -> f64| {
        let values = seeds.iter().map(|scores| measure(of(scores)));
        let (low, high) = values.fold((100.0_f64, 0.0_f64), |(low, high), value| (value.min(low), value.max(high)));
        format!("{:.1} ({low:.0} to {high:.0})", measure(all))
    };
    let alarms = all.false_alarms() * 10.0;
    format!("| {name} | {} | {} | {alarms:.1} |\n", cell(Score::precision), cell(Score::recall))
}

/// The scores of all seeds.
fn total(seeds: &[Scores]) -> Scores {
    let mut total = Scores::new();
    for (key, score) in seeds.iter().flatten() {
        total.entry(*key).or_default().merge(*score);
    }
    total
}

fn document(seeds: &[Scores]) -> Result<String, std::fmt::Error> {
    let scores = &total(seeds);
    let all = sum(scores, |detector, _, _| detector == Detector::Suspect);
    let mut text = format!(
        "# Wrong prices\n\n\
         Written by `tests/prices` from the code: {} events of {} seeds, {} of them wrong. What the set assumes of \
         shops and of faults is in `tests/prices/set.rs`. The policy is `warn` unless said otherwise: every wrong \
         price goes in, and the next event meets it.\n\n\
         Precision is the share of the flagged events that are wrong; recall is the share of the wrong ones that are \
         flagged; in brackets the lowest and the highest of a seed.\n\n\
         | | precision % | recall % | false alarms in 1,000 right events |\n|---|---|---|---|\n",
        all.events(),
        seeds.len(),
        all.wrong(),
    );
    for (detector, name) in Detector::ALL {
        text += &spread(name, detector, seeds);
    }
    let held: Vec<_> = SEEDS.map(|seed| measure(seed..seed + 1, Plan::default(), Policy::Hold)).collect();
    text += &spread("ours with `hold`, where people decide in time", Detector::Suspect, &held);

    text.push_str(
        "\nBy kind of product, the predecessor's thresholds first and ours after them:\n\n\
         | kind | events | wrong | precision % | recall % | decimal shifted | digits swapped | outdated | currency |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let mut row = |name: &str, is_kind: &dyn Fn(Kind) -> bool| {
        let pick = |fault: Option<Fault>, measure: fn(Score) -> f64| {
            let of = |detector| {
                let is_fault = |found: Option<Fault>| fault.is_none() || fault == found;
                measure(sum(scores, |one, kind, found| one == detector && is_kind(kind) && is_fault(found)))
            };
            format!("{:.1} → {:.1}", of(Detector::Thresholds), of(Detector::Suspect))
        };
        let all = sum(scores, |one, kind, _| one == Detector::Suspect && is_kind(kind));
        let faults: Vec<_> = Fault::ALL.into_iter().map(|fault| pick(Some(fault), Score::recall)).collect();
        let (precision, recall) = (pick(None, Score::precision), pick(None, Score::recall));
        let (events, wrong, faults) = (all.events(), all.wrong(), faults.join(" | "));
        writeln!(text, "| {name} | {events} | {wrong} | {precision} | {recall} | {faults} |")
    };
    for kind in Kind::ALL {
        row(&format!("{kind:?}").to_lowercase(), &|one| one == kind)?;
    }
    row("all", &|_| true)?;

    text.push_str(
        "\nPrecision depends on how many events are wrong at all; recall and false alarms hardly do:\n\n\
         | wrong events % | precision % | recall % | false alarms in 1,000 right events |\n|---|---|---|---|\n",
    );
    for faults in [0.002, 0.005, 0.01, 0.02, 0.05] {
        let scores = measure(SEEDS.start..SEEDS.start + 5, Plan { faults, ..Plan::default() }, Policy::Warn);
        let both = |measure: fn(Score) -> f64| {
            let of = |detector| measure(sum(&scores, |one, _, _| one == detector));
            format!("{:.1} → {:.1}", of(Detector::Thresholds), of(Detector::Suspect))
        };
        let alarms = both(|score| score.false_alarms() * 10.0);
        let (precision, recall) = (both(Score::precision), both(Score::recall));
        let all = sum(&scores, |one, _, _| one == Detector::Suspect);
        writeln!(text, "| {:.1} | {precision} | {recall} | {alarms} |", share(all.wrong(), all.events()))?;
    }
    Ok(text)
}

#[test]
fn more_wrong_prices_are_found_than_by_the_thresholds_and_with_fewer_false_alarms() {
    let seeds: Vec<Scores> = SEEDS.map(|seed| measure(seed..seed + 1, Plan::default(), Policy::Warn)).collect();
    for (seed, scores) in SEEDS.zip(&seeds) {
        let of = |detector| sum(scores, |one, _, _| one == detector);
        let (theirs, ours, either) = (of(Detector::Thresholds), of(Detector::Suspect), of(Detector::Detected));
        assert!(ours.precision() > 2.0 * theirs.precision(), "seed {seed}");
        assert!(ours.recall() > theirs.recall() + 8.0, "seed {seed}");
        assert!(either.precision() > theirs.precision() && either.recall() > ours.recall(), "seed {seed}");
    }
    let document = document(&seeds).expect("text is always written");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("PRICES.md");
    if std::env::var_os("INTAKE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &document).expect("a writable folder");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == document, "PRICES.md is not up to date: run this test with INTAKE_WRITE_DOCS=1");
}
