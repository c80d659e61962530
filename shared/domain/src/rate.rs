//! Rate limits: at most so many requests in any 60 seconds.
//!
//! A limit of N has N slots. A slot holds when it was last taken and can be taken again 60 seconds later; each request takes
//! one. So in no 60 seconds, wherever they begin, is a slot taken twice, and nowhere are there more than N requests.
//!
//! The slots lie in a store that gives a request its slots only where they are free, in one step. A process keeps what it
//! last saw of them, [`Slots`]. What it knows to be taken is taken until its time, so that a denial asks nobody; what it
//! takes for free may have been taken since, and then the store refuses and tells what is so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::HashMap;
use uuid::Uuid;

/// The time that a limit is about, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;

/// How many slots of a limit lie in one item of the store. With 11 bytes each they stay under 1 KiB, which is what one
/// DynamoDB write unit pays for.
const SLOTS_PER_ITEM: u16 = 80;

/// When a slot may be removed, in milliseconds after it was last taken. Not as soon as it is free: a write that is late
/// was made before then, and must still find that it is not.
pub const STALE_MS: u64 = 2 * WINDOW_MS;

/// How many stale slots a write removes: more than the one that it may add, so that an item does not grow.
const MAX_STALE: usize = 8;

/// How many requests a tenant may make in any 60 seconds.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Of all routes that have no limit of their own, together.
    pub requests: u16,
    /// Price events.
    pub price_events: u16,
    /// Price events of one product.
    pub price_events_of_product: u16,
    /// Requests with many price events.
    pub price_event_lots: u16,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { requests: 1_000, price_events: 100, price_events_of_product: 10, price_event_lots: 60 }
    }
}

/// What a route draws on. To add one: its quotas in [`Quotas`], its limits in [`Budget::limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// What the routes without a budget of their own share.
    Requests,
    /// Price events, of a tenant and of each product.
    PriceEvents,
    /// Many price events at once.
    PriceEventLots,
}

impl Budget {
    /// Its name in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::PriceEvents => "price-events",
            Self::PriceEventLots => "price-event-lots",
        }
    }

    /// The limits that a request must keep, all of them. Requests that name no `product` are counted as one product's.
    #[must_use]
    pub fn limits(self, quotas: &Quotas, product: Option<Uuid>) -> Vec<Limit> {
        let of_tenant = |name, quota| Limit { name, quota, subject: String::new() };
        match self {
            Self::Requests => vec![of_tenant("requests", quotas.requests)],
            Self::PriceEventLots => vec![of_tenant("price-event-lots", quotas.price_event_lots)],
            Self::PriceEvents => vec![
                of_tenant("price-events", quotas.price_events),
                Limit {
                    name: "price-events-of-product",
                    quota: quotas.price_events_of_product,
                    subject: subject(product.unwrap_or_default()),
                },
            ],
        }
    }
}

/// What a product is called in the names of its slots: of the hundred products that an item has, two are mistaken for one
/// another once in 10¹⁰ minutes.
fn subject(product: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(product)[..6])
}

/// At most `quota` requests in any 60 seconds.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What clients know it by.
    pub name: &'static str,
    /// How many.
    pub quota: u16,
    /// Whose slots they are within the tenant's; empty for the tenant itself.
    subject: String,
}

/// In how many items the slots lie. Slots that are taken together lie in one.
fn items(limits: &[Limit]) -> u16 {
    match limits {
        [one] => one.quota.div_ceil(SLOTS_PER_ITEM).max(1),
        _ => 1,
    }
}

/// The slots that a request asks the store for.
#[derive(Clone, Debug)]
pub struct Take {
    /// The number of the item in which they lie.
    pub item: u16,
    /// The names of the slots, one of each limit. They are ours if each of them is free.
    pub slots: Vec<String>,
    /// The names of stale slots, to be removed with the same write, which is refused if one of them is stale no more.
    pub stale: Vec<String>,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

impl Take {
    /// A slot is free that was last taken by then, in milliseconds since 1970.
    #[must_use]
    pub const fn free_since(&self) -> u64 {
        self.at.saturating_sub(WINDOW_MS)
    }

    /// A slot is stale that was last taken by then, in milliseconds since 1970.
    #[must_use]
    pub const fn stale_since(&self) -> u64 {
        self.at.saturating_sub(STALE_MS)
    }
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit's name.
    pub name: &'static str,
    /// Its quota.
    pub quota: u16,
    /// How many requests it still allows. There may be fewer, if other processes take slots too.
    pub remaining: u16,
    /// In how many milliseconds it will allow one more; 0 when all slots are free.
    pub reset_ms: u64,
}

impl Standing {
    /// The one that a client runs into first.
    #[must_use]
    pub fn tightest(standings: &[Self]) -> Option<&Self> {
        standings.iter().min_by_key(|standing| (standing.remaining, Reverse(standing.reset_ms)))
    }
}

/// What a process knows of a tenant's slots in one budget: by subject and number when each was last taken, in
/// milliseconds since 1970, or 0.
#[derive(Clone, Debug, Default)]
pub struct Slots(HashMap<String, Vec<u64>>);

impl Slots {
    /// Slots for a request at `at` that must keep the `limits`, by a `random` number among those that are taken for free;
    /// `None` when a limit allows no request. In `item`, where the store just told what is so, rather than elsewhere.
    #[must_use]
    pub fn choose(&self, limits: &[Limit], at: u64, mut random: u64, item: Option<u16>) -> Option<Take> {
        let items = items(limits);
        let mut take = Take { item: 0, slots: Vec::with_capacity(limits.len()), stale: Vec::new(), at };
        for limit in limits {
            let times = self.times(limit);
            let is_free = |number: &u16| times.get(usize::from(*number)).is_none_or(|time| is_free(*time, at));
            let mut free: Vec<u16> = (0..limit.quota).filter(is_free).collect();
            if free.iter().any(|number| Some(number % items) == item) {
                free.retain(|number| Some(number % items) == item);
            }
            let count = free.len().max(1) as u64;
            let number = *free.get((random % count) as usize)?;
            random /= count;
            take.item = number % items;
            take.slots.push(name(&limit.subject, usize::from(number)));
        }
        let of_others = self.0.iter().filter(|(subject, _)| limits.iter().all(|limit| limit.subject != **subject));
        let stale = of_others.flat_map(|(subject, times)| {
            let stale = times.iter().enumerate().filter(|(_, time)| (1..=take.stale_since()).contains(*time));
            stale.map(|(number, _)| name(subject, number))
        });
        take.stale = stale.take(MAX_STALE).collect();
        Some(take)
    }

    /// Takes in at `now` what was seen: names of slots and when each was last taken. Other names are passed over.
    pub fn learn<'a>(&mut self, seen: impl IntoIterator<Item = (&'a str, u64)>, now: u64) {
        // Answers may come late and out of order, but a slot is never taken earlier than before. What is forgotten here
        // and still there to be removed is seen again.
        self.0.retain(|_, times| times.iter().any(|time| !is_free(*time, now)));
        for (name, time) in seen {
            let (subject, number) = name.rsplit_once('.').unwrap_or(("", name));
            let Ok(number) = number.parse::<u16>().map(usize::from) else { continue };
            if !self.0.contains_key(subject) {
                self.0.insert(subject.to_owned(), Vec::new());
            }
            if let Some(times) = self.0.get_mut(subject) {
                times.resize(times.len().max(number + 1), 0);
                times[number] = times[number].max(time);
            }
        }
    }

    /// How a limit stands at `now`.
    #[must_use]
    pub fn standing(&self, limit: &Limit, now: u64) -> Standing {
        let times = self.times(limit).iter().take(usize::from(limit.quota));
        let (mut taken, mut first) = (0, None);
        for time in times.copied().filter(|time| !is_free(*time, now)) {
            taken += 1;
            first = Some(first.map_or(time, |first: u64| first.min(time)));
        }
        let reset_ms = first.map_or(0, |first| (first + WINDOW_MS).saturating_sub(now));
        Standing { name: limit.name, quota: limit.quota, remaining: limit.quota - taken, reset_ms }
    }

    fn times(&self, limit: &Limit) -> &[u64] {
        self.0.get(&limit.subject).map_or(&[], Vec::as_slice)
    }
}

/// Whether a slot that was last taken at `time` can be taken at `now`.
fn is_free(time: u64, now: u64) -> bool {
    time == 0 || time.saturating_add(WINDOW_MS) <= now
}

/// What a slot is called in its item: `17`, or of a product `2Yc0pZxk.3`.
fn name(subject: &str, number: usize) -> String {
    if subject.is_empty() { number.to_string() } else { format!("{subject}.{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::collections::BTreeMap;

    /// Some time in 2026.
    const START: u64 = 1_790_000_000_000;

    /// The store: items of slots, and a write that takes all of its slots or none.
    #[derive(Default)]
    struct Store(BTreeMap<u16, BTreeMap<String, u64>>);

    impl Store {
        fn write(&mut self, take: &Take) -> bool {
            let item = self.0.entry(take.item).or_default();
            let is_since = |name: &String, since| item.get(name).is_none_or(|time| *time <= since);
            let is_ours = take.slots.iter().all(|name| is_since(name, take.free_since()))
                && take.stale.iter().all(|name| is_since(name, take.stale_since()));
            if is_ours {
                item.retain(|name, _| !take.stale.contains(name));
                item.extend(take.slots.iter().map(|name| (name.clone(), take.at)));
            }
            is_ours
        }

        fn tell(&self, item: u16, slots: &mut Slots, now: u64) {
            let seen = self.0.get(&item).into_iter().flatten();
            slots.learn(seen.map(|(name, time)| (name.as_str(), *time)), now);
        }

        /// Asks as a process does, until it is decided: how it went, and after how many writes.
        fn ask(&mut self, slots: &mut Slots, limits: &[Limit], now: u64, random: u64) -> (bool, u16) {
            let (mut item, mut writes) = (None, 0);
            while let Some(take) = slots.choose(limits, now, random, item) {
                let is_ours = self.write(&take);
                self.tell(take.item, slots, now);
                (item, writes) = (Some(take.item), writes + 1);
                if is_ours {
                    return (true, writes);
                }
            }
            (false, writes)
        }

        /// How many slots of a limit are taken.
        fn taken(&self, limit: &Limit, now: u64) -> u16 {
            let mut all = Slots::default();
            self.0.keys().for_each(|item| self.tell(*item, &mut all, now));
            limit.quota - all.standing(limit, now).remaining
        }
    }

    /// What was admitted, by the limit's subject.
    #[derive(Default)]
    struct Admitted(BTreeMap<(String, u16), Vec<u64>>);

    impl Admitted {
        fn add(&mut self, limits: &[Limit], at: u64) {
            for limit in limits {
                self.0.entry((limit.subject.clone(), limit.quota)).or_default().push(at);
            }
        }

        /// The most that any 60 seconds see, beside the quota.
        fn worst(mut self) -> Option<(usize, usize)> {
            self.0.values_mut().for_each(|times| times.sort_unstable());
            let windows = self.0.iter().flat_map(|((_, quota), times)| {
                times.iter().enumerate().map(|(from, first)| {
                    let until = times.partition_point(|time| *time < first + WINDOW_MS);
                    (until - from, usize::from(*quota))
                })
            });
            windows.max_by_key(|(count, quota)| count * 1_000 / quota)
        }
    }

    fn product(number: u8) -> Option<Uuid> {
        Some(Uuid::from_u128(u128::from(number) << 64))
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Time goes by.
        Pass(u64),
        /// A process chooses and sends its write.
        Send { process: usize, product: u8, random: u64 },
        /// One of the writes under way arrives.
        Arrive(Index),
    }

    fn gap() -> impl Strategy<Value = u64> {
        prop_oneof![0..50_u64, 0..2_000_u64, 59_900..60_100_u64, Just(WINDOW_MS)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => gap().prop_map(Step::Pass),
            12 => (0..4_usize, 0..3_u8, any::<u64>())
                .prop_map(|(process, product, random)| Step::Send { process, product, random }),
            12 => any::<Index>().prop_map(Step::Arrive),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_minute_sees_more_than_the_quota(
            steps in prop::collection::vec(step(), 1..600),
            budget in prop::sample::select(&[Budget::Requests, Budget::PriceEvents][..]),
            requests in 1..200_u16,
        ) {
            let quotas = Quotas { requests, price_events: 12, price_events_of_product: 5, ..Quotas::default() };
            let (mut store, mut admitted) = (Store::default(), Admitted::default());
            let mut processes = vec![Slots::default(); 4];
            let (mut under_way, mut now) = (Vec::new(), START);
            for step in steps {
                match step {
                    Step::Pass(time) => now += time,
                    Step::Send { process, product: number, random } => {
                        let limits = budget.limits(&quotas, product(number));
                        match processes[process].choose(&limits, now, random, None) {
                            Some(take) => under_way.push((process, limits, take)),
                            None => {
                                // a denial that asked nobody is true, and so is when it says to come again
                                let full = |limit: &Limit| store.taken(limit, now) == limit.quota;
                                prop_assert!(limits.iter().any(full));
                                let standings = limits.iter().map(|limit| processes[process].standing(limit, now));
                                let wait = standings.filter(|standing| standing.remaining == 0).map(|it| it.reset_ms).max();
                                let wait = wait.expect("a limit is used up");
                                prop_assert!(processes[process].choose(&limits, now + wait - 1, random, None).is_none());
                                prop_assert!(processes[process].choose(&limits, now + wait, random, None).is_some());
                            }
                        }
                    }
                    Step::Arrive(which) if !under_way.is_empty() => {
                        let (process, limits, take) = under_way.swap_remove(which.index(under_way.len()));
                        // nobody waits for longer
                        if now <= take.at + WINDOW_MS && store.write(&take) {
                            admitted.add(&limits, take.at);
                        }
                        store.tell(take.item, &mut processes[process], now);
                    }
                    Step::Arrive(_) => {}
                }
            }
            let worst = admitted.worst();
            prop_assert!(worst.is_none_or(|(count, quota)| count <= quota), "{worst:?}");
        }

        #[test]
        fn what_is_free_is_found_and_what_is_denied_is_used_up(
            bursts in prop::collection::vec((0..4_usize, gap(), 1..100_u16, 0..3_u8, any::<u64>()), 1..20),
            budget in prop::sample::select(&[Budget::Requests, Budget::PriceEvents][..]),
            requests in 1..400_u16,
        ) {
            let quotas = Quotas { requests, price_events: 30, price_events_of_product: 12, ..Quotas::default() };
            let (mut store, mut admitted) = (Store::default(), Admitted::default());
            let mut processes = vec![Slots::default(); 4];
            let mut now = START;
            for (process, gap, burst, number, random) in bursts {
                now += gap;
                let limits = budget.limits(&quotas, product(number));
                for nth in 0..burst {
                    let is_free = limits.iter().all(|limit| store.taken(limit, now) < limit.quota);
                    let random = random.wrapping_mul(u64::from(nth) * 2 + 1);
                    let (is_ours, writes) = store.ask(&mut processes[process], &limits, now, random);
                    prop_assert_eq!(is_ours, is_free);
                    prop_assert!(writes <= items(&limits) + 1, "{writes} writes");
                    if is_ours {
                        admitted.add(&limits, now);
                    }
                    now += u64::from(nth % 7 == 0);
                }
            }
            let worst = admitted.worst();
            prop_assert!(worst.is_none_or(|(count, quota)| count <= quota), "{worst:?}");
        }
    }

    #[test]
    fn a_burst_on_both_sides_of_a_minute_has_one_budget() {
        let quotas = Quotas::default();
        let limits = Budget::Requests.limits(&quotas, None);
        let (mut store, mut one, mut other) = (Store::default(), Slots::default(), Slots::default());
        let mut take = |slots: &mut Slots, now, count: u64| {
            (0..count).filter(|nth| store.ask(slots, &limits, now, nth * 7_919).0).count()
        };
        assert_eq!(take(&mut one, START - 1, 1_100), 1_000);
        assert_eq!(take(&mut other, START, 1_100), 0);
        assert_eq!(take(&mut other, START + WINDOW_MS - 2, 1_100), 0);
        assert_eq!(take(&mut other, START + WINDOW_MS - 1, 1_100), 1_000);
        assert_eq!(take(&mut one, START + WINDOW_MS - 1, 1_100), 0);
    }

    #[test]
    fn a_lonely_process_needs_one_write_and_then_none() {
        let limits = Budget::Requests.limits(&Quotas::default(), None);
        let (mut store, mut slots) = (Store::default(), Slots::default());
        for nth in 0..1_000 {
            assert_eq!(store.ask(&mut slots, &limits, START + nth, nth * 7_919), (true, 1));
            assert_eq!(u64::from(slots.standing(&limits[0], START + nth).remaining), 999 - nth);
        }
        assert_eq!(store.ask(&mut slots, &limits, START + 1_000, 0), (false, 0));
        let standing = Standing { name: "requests", quota: 1_000, remaining: 0, reset_ms: WINDOW_MS - 1_000 };
        assert_eq!(slots.standing(&limits[0], START + 1_000), standing);
    }

    #[test]
    fn a_process_that_knows_nothing_is_refused_until_the_slot_is_free() {
        let limits = Budget::Requests.limits(&Quotas { requests: 1, ..Quotas::default() }, None);
        let mut store = Store::default();
        for (at, is_ours) in [(START, true), (START + WINDOW_MS - 1, false), (START + WINDOW_MS, true)] {
            let take = Slots::default().choose(&limits, at, 0, None).expect("it knows of none that is taken");
            assert_eq!(store.write(&take), is_ours, "{at}");
        }
    }

    #[test]
    fn a_late_write_finds_the_slots_that_were_taken_when_it_was_made() {
        let quotas = Quotas { price_events_of_product: 1, ..Quotas::default() };
        let limits = |number| Budget::PriceEvents.limits(&quotas, product(number));
        let (mut store, mut slots) = (Store::default(), Slots::default());
        assert!(store.ask(&mut slots, &limits(1), START, 0).0);
        let late = Slots::default().choose(&limits(1), START + WINDOW_MS - 1, 1, None).expect("it knows nothing");
        assert!(store.ask(&mut slots, &limits(2), START + WINDOW_MS, 0).0);
        assert!(!store.write(&late));
        assert!(store.ask(&mut slots, &limits(3), START + STALE_MS, 0).0);
        assert!(!store.0[&0].keys().any(|name| name.starts_with(&subject(product(1).expect("one")))), "removed");
    }

    #[test]
    fn an_items_size_is_bounded() {
        let quotas = Quotas::default();
        let (mut store, mut processes) = (Store::default(), vec![Slots::default(); 5]);
        // as many as the tenant's limit lets pass, each for another product
        for nth in 0..5_000_u64 {
            let limits = Budget::PriceEvents.limits(&quotas, Some(Uuid::from_u128(u128::from(nth))));
            let process = &mut processes[(nth * 7_919 % 5) as usize];
            assert!(store.ask(process, &limits, START + nth * 600, nth).0);
            let size = store.0[&0].len();
            assert!(size <= 350, "{size} slots after {nth} requests");
        }
        // an item of a budget that is spread, full: names, numbers of 13 digits, the key and its time to live
        let limits = Budget::Requests.limits(&quotas, None);
        let (mut store, mut slots) = (Store::default(), Slots::default());
        while store.ask(&mut slots, &limits, START, 0).0 {}
        assert_eq!(store.0.values().map(BTreeMap::len).sum::<usize>(), 1_000);
        for item in store.0.values() {
            let bytes: usize = item.keys().map(|name| name.len() + 8).sum();
            assert!(bytes + "id".len() + 36 + " requests 12".len() + "expires_at".len() + 6 < 1_024, "{bytes}");
        }
    }

    #[test]
    fn the_product_is_limited_within_the_tenant() {
        let quotas = Quotas::default();
        let (mut store, mut slots) = (Store::default(), Slots::default());
        let mut admitted = |number: u8, count: u64| {
            let limits = Budget::PriceEvents.limits(&quotas, product(number));
            let taken = (0..count).filter(|nth| store.ask(&mut slots, &limits, START, *nth).0).count();
            let standings: Vec<_> = limits.iter().map(|limit| slots.standing(limit, START)).collect();
            (taken, Standing::tightest(&standings).map(|it| (it.name, it.remaining)))
        };
        assert_eq!(admitted(0, 4), (4, Some(("price-events-of-product", 6))));
        assert_eq!(admitted(0, 20), (6, Some(("price-events-of-product", 0))));
        for number in 1..9 {
            assert_eq!(admitted(number, 20), (10, Some(("price-events-of-product", 0))));
        }
        assert_eq!(admitted(9, 8), (8, Some(("price-events", 2))), "equally tight ones: the first");
        assert_eq!(admitted(10, 20), (2, Some(("price-events", 0))));
        assert_eq!(admitted(11, 20), (0, Some(("price-events", 0))));
    }

    #[test]
    fn other_names_in_an_item_are_passed_over() {
        let limits = Budget::Requests.limits(&Quotas { requests: 2, ..Quotas::default() }, None);
        let mut slots = Slots::default();
        slots.learn([("id", START), ("expires_at", START), ("70000", START), ("-1", START), ("x.y", START)], START);
        assert_eq!(slots.standing(&limits[0], START).remaining, 2);
        slots.learn([("0", START), ("7", START)], START);
        assert_eq!(
            slots.standing(&limits[0], START).remaining,
            1,
            "a slot that the quota no longer has does not count"
        );
        slots.learn([("0", START - 5)], START);
        assert_eq!(slots.standing(&limits[0], START).reset_ms, WINDOW_MS, "what came late is older");
    }
}
