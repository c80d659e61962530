//! From orders and their items to the totals of their days.

use super::tally::Tally;
use super::{DAY_MICROS, QUARTER_MICROS, day_of};
use crate::sketch::{Code, Sketch};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use uuid::Uuid;

/// An order, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Its id.
    pub id: Uuid,
    /// When it was made, in microseconds since 1970.
    pub at: i64,
    /// Its currency.
    pub currency: &'a str,
    /// Its total, in hundredths.
    pub cents: i64,
    /// Who made it.
    pub customer: Option<Uuid>,
}

/// An item of an order, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Its order.
    pub order: Uuid,
    /// What was ordered.
    pub product: Uuid,
    /// How many pieces.
    pub quantity: i32,
    /// The line total, in hundredths.
    pub cents: i64,
}

/// The totals of one day in one currency, as they are stored. Equal sales have equal bytes, in whatever order they were
/// counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The day of UTC, in days since 1970.
    pub day: i32,
    /// The currency.
    pub currency: String,
    /// The sum of the orders' totals, in hundredths.
    pub cents: u128,
    /// How many orders.
    pub orders: u64,
    /// The sketch of their customers.
    pub customers: Vec<u8>,
    /// For [`read_quarters`](super::read_quarters).
    pub quarters: Vec<u8>,
    /// For [`read_products`](super::read_products).
    pub products: Vec<u8>,
    /// For [`read_categories`](super::read_categories).
    pub categories: Vec<u8>,
}

/// Counts orders and then their items.
#[derive(Debug, Default)]
pub struct Counter {
    parts: Vec<Part>,
    /// Days, and where those of each currency are in `parts`.
    known: HashMap<i32, Vec<u32>, RandomState>,
    /// Where an order is: its part, and its place there.
    orders: HashMap<Uuid, (u32, u32), RandomState>,
    /// The order whose item was counted last: most come one after the other.
    last: Option<(Uuid, (u32, u32))>,
    /// The numbers of products, in the order in which they were first seen.
    products: HashMap<Uuid, u32, RandomState>,
    /// How many items were counted.
    items: usize,
}

#[derive(Debug)]
struct Part {
    day: i32,
    currency: String,
    orders: Vec<Counted>,
    items: Vec<Line>,
}

/// An order that was counted.
#[derive(Clone, Copy, Debug)]
struct Counted {
    quarter: u8,
    cents: i64,
    customer: Option<Code>,
}

/// An item that was counted.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The place of its order.
    order: u32,
    /// The number of its product.
    product: u32,
    quantity: i32,
    cents: i64,
}

/// A product, by its number: its places among all products and among all categories, which are their ids in order.
#[derive(Clone, Copy, Debug)]
struct Sold {
    place: u32,
    category: u32,
}

/// Everything that was sold, in the order in which it is stored.
#[derive(Debug)]
struct Goods {
    sold: Vec<Sold>,
    products: Vec<Uuid>,
    categories: Vec<Option<Uuid>>,
}

impl Goods {
    fn of(numbers: &HashMap<Uuid, u32, RandomState>, categories: &HashMap<Uuid, Uuid>) -> Self {
        let mut products: Vec<_> = numbers.iter().map(|(id, number)| (*id, *number)).collect();
        products.sort_unstable();
        let mut all: Vec<_> = products.iter().map(|(id, _)| categories.get(id).copied()).collect();
        all.sort_unstable();
        all.dedup();
        let mut sold = vec![Sold { place: 0, category: 0 }; products.len()];
        for (place, (id, number)) in products.iter().enumerate() {
            let category = all.partition_point(|category| *category < categories.get(id).copied());
            sold[*number as usize] = Sold { place: place as u32, category: category as u32 };
        }
        Self { sold, products: products.into_iter().map(|(id, _)| id).collect(), categories: all }
    }

    fn of_line(&self, line: &Line) -> Sold {
        self.sold[line.product as usize]
    }
}

impl Counter {
    /// Counts about so many orders.
    #[must_use]
    pub fn of_about(orders: usize) -> Self {
        Self { orders: HashMap::with_capacity_and_hasher(orders, RandomState::default()), ..Self::default() }
    }

    /// Counts an order.
    pub fn order(&mut self, order: &Order<'_>) {
        let day = day_of(order.at);
        let of_day = self.known.entry(day).or_default();
        let known = of_day.iter().find(|at| self.parts[**at as usize].currency == order.currency).copied();
        let at = known.unwrap_or_else(|| {
            let at = self.parts.len() as u32;
            of_day.push(at);
            let currency = order.currency.to_owned();
            self.parts.push(Part { day, currency, orders: Vec::new(), items: Vec::new() });
            at
        });
        let part = &mut self.parts[at as usize];
        self.orders.insert(order.id, (at, part.orders.len() as u32));
        part.orders.push(Counted {
            quarter: (order.at.rem_euclid(DAY_MICROS) / QUARTER_MICROS) as u8,
            cents: order.cents,
            customer: order.customer.map(Code::of),
        });
    }

    /// Counts an item, and says whether it is one of these days': one whose order was not counted is none.
    pub fn item(&mut self, item: &Item) -> bool {
        let (part, order) = match self.last {
            Some((last, at)) if last == item.order => at,
            _ => {
                let Some(at) = self.orders.get(&item.order).copied() else { return false };
                self.last = Some((item.order, at));
                at
            }
        };
        let Item { product, quantity, cents, .. } = *item;
        let next = self.products.len() as u32;
        let product = *self.products.entry(product).or_insert(next);
        self.parts[part as usize].items.push(Line { order, product, quantity, cents });
        self.items += 1;
        true
    }

    /// About how many bytes of memory it has taken, as it was measured with millions of orders.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        110 * self.orders.len() + 36 * self.items
    }

    /// How many orders were counted.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.orders.len()
    }

    /// What was sold, in no order: [`finish`](Self::finish) asks for the categories of these.
    pub fn products(&self) -> impl Iterator<Item = Uuid> {
        self.products.keys().copied()
    }

    /// The totals of each day and currency that has any order, one after the other; `categories` are those of the products, as
    /// they are now.
    pub fn finish(self, categories: &HashMap<Uuid, Uuid>) -> impl Iterator<Item = Segment> + use<> {
        let goods = Goods::of(&self.products, categories);
        self.parts.into_iter().map(move |part| part.finish(&goods))
    }
}

impl Part {
    fn finish(mut self, goods: &Goods) -> Segment {
        let all = self.of_orders(&(0..self.orders.len()).collect::<Vec<_>>());
        let (mut customers, mut quarters, mut products, mut categories) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        all.customers.write(&mut customers);

        let mut places: Vec<_> = (0..self.orders.len()).collect();
        places.sort_unstable_by_key(|place| self.orders[*place].quarter);
        for places in places.chunk_by(|one, next| self.orders[*one].quarter == self.orders[*next].quarter) {
            quarters.push(self.orders[places[0]].quarter);
            self.of_orders(places).write(&mut quarters);
        }

        let mut items = std::mem::take(&mut self.items);
        items.sort_unstable_by_key(|item| item.order);
        let of_all = self.of_items(&items);
        of_all.write(&mut products);
        of_all.write(&mut categories);
        items.sort_unstable_by_key(|item| (goods.of_line(item).place, item.order));
        for items in items.chunk_by(|one, next| one.product == next.product) {
            products.extend(goods.products[goods.of_line(&items[0]).place as usize].as_bytes());
            self.of_items(items).write(&mut products);
        }
        let category = |item: &Line| goods.of_line(item).category;
        items.sort_unstable_by_key(|item| (category(item), item.order));
        for items in items.chunk_by(|one, next| category(one) == category(next)) {
            let id = goods.categories[category(&items[0]) as usize];
            categories.push(u8::from(id.is_some()));
            categories.extend(id.iter().flat_map(Uuid::as_bytes));
            self.of_items(items).write(&mut categories);
        }
        let Self { day, currency, .. } = self;
        Segment { day, currency, cents: all.cents, orders: all.orders, customers, quarters, products, categories }
    }

    fn of_orders(&self, places: &[usize]) -> Tally {
        let orders = places.iter().map(|place| &self.orders[*place]);
        Tally {
            cents: orders.clone().map(|order| u128::from(order.cents.unsigned_abs())).sum(),
            quantity: 0,
            orders: places.len() as u64,
            customers: Sketch::of(orders.filter_map(|order| order.customer)),
        }
    }

    /// Those of one order stand beside one another.
    fn of_items(&self, items: &[Line]) -> Tally {
        let of_order = items.chunk_by(|one, next| one.order == next.order);
        let orders = of_order.map(|items| &self.orders[items[0].order as usize]);
        Tally {
            cents: items.iter().map(|item| u128::from(item.cents.unsigned_abs())).sum(),
            quantity: items.iter().map(|item| u64::from(item.quantity.unsigned_abs())).sum(),
            orders: orders.clone().count() as u64,
            customers: Sketch::of(orders.filter_map(|order| order.customer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Sum, read_categories, read_products, read_quarters};
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const HOUR: i64 = 4 * QUARTER_MICROS;

    fn id(number: u64) -> Uuid {
        Uuid::from_u128(number.into())
    }

    /// An order and its items: when, currency, cents, customer, and product, quantity and cents of each.
    type Drawn = (i64, bool, i64, Option<u64>, Vec<(u64, i32, i64)>);

    fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
        let item = (0_u64..6, 1_i32..9, 0_i64..100_000);
        let order = (
            -60_i64..60,
            any::<bool>(),
            0_i64..1_000_000,
            prop::option::of(0_u64..9),
            prop::collection::vec(item, 0..5),
        );
        prop::collection::vec(order, 0..40)
    }

    /// The category of a product.
    fn category(product: u64) -> Option<Uuid> {
        (product > 1).then(|| id(100 + product % 2))
    }

    fn count(orders: &[Drawn], is_turned: bool) -> Vec<Segment> {
        let mut counter = Counter::default();
        let at = |at: usize| if is_turned { orders.len() - 1 - at } else { at };
        for number in (0..orders.len()).map(at) {
            let (hour, is_euro, cents, customer, _) = &orders[number];
            counter.order(&Order {
                id: id(number as u64),
                at: hour * HOUR + 1,
                currency: if *is_euro { "EUR" } else { "USD" },
                cents: *cents,
                customer: customer.map(id),
            });
        }
        for number in (0..orders.len()).map(at) {
            for (product, quantity, cents) in &orders[number].4 {
                let (order, product) = (id(number as u64), id(*product));
                assert!(counter.item(&Item { order, product, quantity: *quantity, cents: *cents }));
            }
        }
        assert!(!counter.item(&Item { order: id(1_000), product: id(9), quantity: 1, cents: 1 }));
        let categories = (0..9).filter_map(|product| Some((id(product), category(product)?))).collect();
        let mut segments: Vec<_> = counter.finish(&categories).collect();
        segments.sort_by_key(|segment| (segment.day, segment.currency.clone()));
        segments
    }

    /// What is expected of a tally: cents, pieces, orders and who ordered.
    type Expected = (u128, u64, BTreeSet<usize>, BTreeSet<u64>);

    fn same(sum: Sum, expected: &Expected) -> bool {
        let tally = sum.finish();
        let customers = Sketch::of(expected.3.iter().map(|customer| Code::of(id(*customer))));
        (tally.cents, tally.quantity, tally.orders) == (expected.0, expected.1, expected.2.len() as u64)
            && tally.customers == customers
    }

    proptest! {
        #[test]
        fn counted_by_days_is_counted_one_by_one(orders in drawn()) {
            let segments = count(&orders, false);
            prop_assert_eq!(&segments, &count(&orders, true), "the order of counting shows in nothing");

            let (mut all, mut quarters) = (Sum::default(), BTreeMap::<i64, Sum>::new());
            let (mut products, mut categories) = (BTreeMap::<Uuid, Sum>::new(), BTreeMap::<Option<Uuid>, Sum>::new());
            for segment in &segments {
                for (quarter, tally) in read_quarters(&segment.quarters).expect("quarters") {
                    let at = i64::from(segment.day) * DAY_MICROS + i64::from(quarter) * QUARTER_MICROS;
                    quarters.entry(at).or_default().add(&tally);
                }
                let (of_all, of_products) = read_products(&segment.products).expect("products");
                all.add(&of_all);
                of_products.iter().for_each(|(id, tally)| products.entry(*id).or_default().add(tally));
                let (of_all_again, of_categories) = read_categories(&segment.categories).expect("categories");
                prop_assert_eq!(of_all, of_all_again);
                of_categories.iter().for_each(|(id, tally)| categories.entry(*id).or_default().add(tally));
            }

            let (mut of_items, mut of_quarters) = (Expected::default(), BTreeMap::<i64, Expected>::new());
            let (mut of_products, mut of_categories) = (BTreeMap::<Uuid, Expected>::new(), BTreeMap::<Option<Uuid>, Expected>::new());
            for (number, (hour, _, cents, customer, items)) in orders.iter().enumerate() {
                let quarter = of_quarters.entry(hour * HOUR).or_default();
                quarter.0 += *cents as u128;
                quarter.2.insert(number);
                quarter.3.extend(customer);
                for (product, quantity, cents) in items {
                    let product_id = id(*product);
                    let of_product = of_products.entry(product_id).or_default();
                    let of_category = of_categories.entry(category(*product)).or_default();
                    for expected in [&mut of_items, of_product, of_category] {
                        expected.0 += *cents as u128;
                        expected.1 += *quantity as u64;
                        expected.2.insert(number);
                        expected.3.extend(customer);
                    }
                }
            }
            prop_assert!(same(all, &of_items));
            prop_assert_eq!(quarters.keys().collect::<Vec<_>>(), of_quarters.keys().collect::<Vec<_>>());
            prop_assert!(quarters.into_iter().all(|(at, sum)| same(sum, &of_quarters[&at])));
            prop_assert_eq!(products.keys().collect::<Vec<_>>(), of_products.keys().collect::<Vec<_>>());
            prop_assert!(products.into_iter().all(|(id, sum)| same(sum, &of_products[&id])));
            prop_assert_eq!(categories.keys().collect::<Vec<_>>(), of_categories.keys().collect::<Vec<_>>());
            prop_assert!(categories.into_iter().all(|(id, sum)| same(sum, &of_categories[&id])));
        }

        #[test]
        fn what_was_cut_off_is_no_total(orders in drawn(), cut in 1_usize..40) {
            for segment in count(&orders, false) {
                let cut = |bytes: &[u8]| bytes[..bytes.len().saturating_sub(cut)].to_vec();
                // what is left may end between two entries: then it is fewer, and never other ones
                let (all, products) = read_products(&segment.products).expect("products");
                if let Ok((cut_all, cut_products)) = read_products(&cut(&segment.products)) {
                    prop_assert_eq!(cut_all, all);
                    prop_assert!(products.starts_with(&cut_products));
                }
            }
        }
    }
}
