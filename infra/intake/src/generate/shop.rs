//! One tenant's rows. Each is a function of (seed, tenant, kind, index): an item finds its order's id, and an order its
//! items' prices, by drawing them again, so nothing is kept.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::Plan;
use super::stream::{Kind, Stream};
use super::value::{Field, Value};
use super::words;

/// Categories of a shop's products.
const CATEGORIES: u64 = 24;

/// A generated tenant.
#[derive(Clone, Copy, Debug)]
pub struct Shop<'a> {
    plan: &'a Plan,
    number: u64,
    /// The first moment of the orders, and the first after them.
    window: (Timestamp, Timestamp),
}

struct Person {
    id: Uuid,
    name: String,
    email: String,
    /// Goes on where the person was drawn.
    stream: Stream,
}

struct Article {
    id: Uuid,
    cents: u64,
    /// Goes on where the article was drawn.
    stream: Stream,
}

struct Item {
    id: Uuid,
    product_id: Uuid,
    quantity: u64,
    unit_cents: u64,
}

#[derive(Serialize)]
struct CustomerMetadata {
    tier: &'static str,
    newsletter: bool,
    country: &'static str,
}

#[derive(Serialize)]
struct OrderPayload {
    source: &'static str,
    campaign: Option<&'static str>,
    discount_code: Option<&'static str>,
    user_agent: &'static str,
    country: &'static str,
    gift: bool,
}

#[derive(Serialize)]
struct StockMeta {
    warehouse: u64,
}

impl<'a> Shop<'a> {
    /// The tenant of this number, whose orders lie in `window`.
    pub fn new(plan: &'a Plan, number: u64, window: (Timestamp, Timestamp)) -> Self {
        Self { plan, number, window }
    }

    /// The tenant's id.
    pub fn id(&self) -> Uuid {
        self.stream(Kind::Tenant, 0).uuid()
    }

    /// The tenant's name.
    pub fn name(&self) -> String {
        let count = words::SHOPS.len() as u64;
        let name = words::SHOPS[(self.number % count) as usize];
        if self.number < count { name.to_owned() } else { format!("{name} {}", self.number / count + 1) }
    }

    /// The customer of this index.
    pub fn customer(&self, index: u64) -> anyhow::Result<[Field; 5]> {
        let mut person = self.person(index);
        let metadata = CustomerMetadata {
            tier: person.stream.pick(&words::TIERS),
            newsletter: person.stream.chance(40),
            country: person.stream.pick(&words::COUNTRIES),
        };
        Ok([
            ("customer_id", Value::Id(person.id)),
            ("name", person.name.into()),
            ("email", person.email.into()),
            ("metadata", Value::Json(serde_json::to_string(&metadata)?)),
            ("created_at", Value::Time(self.before_window(&mut person.stream))),
        ])
    }

    /// The product of this index.
    pub fn product(&self, index: u64) -> [Field; 7] {
        let Article { id, cents, mut stream } = self.article(index);
        let name = format!("{} {}", stream.pick(&words::ADJECTIVES), stream.pick(&words::PRODUCTS));
        let category = stream.below(CATEGORIES);
        [
            ("product_id", Value::Id(id)),
            ("sku", format!("SKU-{:08}", index + 1).into()),
            ("name", name.into()),
            ("price", Value::Cents(cents)),
            ("category_id", Value::Id(self.stream(Kind::Category, category).uuid())),
            ("active", Value::Flag(stream.chance(95))),
            ("created_at", Value::Time(self.before_window(&mut stream))),
        ]
    }

    /// The order of this index; its total is the sum of its items.
    pub fn order(&self, index: u64) -> anyhow::Result<[Field; 11]> {
        let mut stream = self.stream(Kind::Order, index);
        let id = stream.uuid();
        let customer = (self.plan.customers > 0).then(|| self.person(stream.below(self.plan.customers)));
        let (customer_id, name, email) = match customer {
            Some(person) => (Value::Id(person.id), person.name.into(), person.email.into()),
            None => (Value::Null, Value::Null, Value::Null),
        };
        let time = self.in_window(&mut stream);
        let payload = OrderPayload {
            source: stream.pick(&words::SOURCES),
            campaign: stream.pick(&words::CAMPAIGNS),
            discount_code: stream.pick(&words::DISCOUNTS),
            user_agent: stream.pick(&words::AGENTS),
            country: stream.pick(&words::COUNTRIES),
            gift: stream.chance(8),
        };
        Ok([
            ("order_id", Value::Id(id)),
            ("external_order_id", format!("ORD-{:09}", index + 1).into()),
            ("customer_id", customer_id),
            ("customer_name_snapshot", name),
            ("customer_email_snapshot", email),
            ("total_amount", Value::Cents(self.items(index).map(|item| item.quantity * item.unit_cents).sum())),
            ("currency", stream.pick(&words::CURRENCIES).into()),
            ("order_status", stream.pick(&words::STATUSES).into()),
            ("order_date", Value::Time(time)),
            ("raw_payload", Value::Json(serde_json::to_string(&payload)?)),
            ("created_at", Value::Time(time)),
        ])
    }

    /// The items of the order of this index.
    pub fn order_items(&self, order: u64) -> impl Iterator<Item = [Field; 6]> {
        let order_id = self.stream(Kind::Order, order).uuid();
        self.items(order).map(move |item| {
            [
                ("order_item_id", Value::Id(item.id)),
                ("order_id", Value::Id(order_id)),
                ("product_id", Value::Id(item.product_id)),
                ("quantity", Value::Int(item.quantity as i64)),
                ("unit_price", Value::Cents(item.unit_cents)),
                ("line_total", Value::Cents(item.quantity * item.unit_cents)),
            ]
        })
    }

    /// The prices, one to three, that the product of this index had one after another; the last is its price now.
    pub fn price_history(&self, product: u64) -> impl Iterator<Item = [Field; 5]> {
        let article = self.article(product);
        let mut stream = self.stream(Kind::PriceHistory, product);
        let count = 1 + stream.below(3);
        let times: Vec<_> = (0..count).map(|step| self.in_share(&mut stream, step, count)).collect();
        (0..count).map(move |step| {
            let next = times.get(step as usize + 1).copied();
            let cents = if next.is_some() { article.cents * (80 + stream.below(40)) / 100 } else { article.cents };
            [
                ("id", Value::Id(stream.uuid())),
                ("product_id", Value::Id(article.id)),
                ("price", Value::Cents(cents)),
                ("effective_from", Value::Time(times[step as usize])),
                ("effective_to", next.map_or(Value::Null, Value::Time)),
            ]
        })
    }

    /// Two to six movements of the product of this index, oldest first; its level is never below 0.
    pub fn stock_events(&self, product: u64) -> impl Iterator<Item = anyhow::Result<[Field; 7]>> {
        let product_id = self.article(product).id;
        let mut stream = self.stream(Kind::StockEvents, product);
        let count = 2 + stream.below(5);
        let mut level = 0;
        (0..count).map(move |step| {
            let (delta, source) = match step {
                0 => (10 + stream.below(490) as i64, "receipt"),
                _ => (stream.below(60) as i64 - 30, stream.pick(&words::STOCK_SOURCES)),
            };
            let delta = delta.max(-level);
            level += delta;
            let meta = StockMeta { warehouse: 1 + stream.below(3) };
            Ok([
                ("stock_event_id", Value::Id(stream.uuid())),
                ("product_id", Value::Id(product_id)),
                ("delta", Value::Int(delta)),
                ("resulting_level", Value::Int(level)),
                ("event_time", Value::Time(self.in_share(&mut stream, step, count))),
                ("source", source.into()),
                ("meta", Value::Json(serde_json::to_string(&meta)?)),
            ])
        })
    }

    fn stream(&self, kind: Kind, index: u64) -> Stream {
        Stream::at(self.plan.seed, self.number, kind, index)
    }

    fn person(&self, index: u64) -> Person {
        let mut stream = self.stream(Kind::Customer, index);
        let id = stream.uuid();
        let (name, mut email) = identity(&mut stream, index);
        let mut collision = self.stream(Kind::Collision, index);
        if collision.chance(self.plan.colliding_emails) && index > 0 {
            let other = collision.below(index);
            let mut other_stream = self.stream(Kind::Customer, other);
            other_stream.uuid();
            email = identity(&mut other_stream, other).1;
        }
        Person { id, name, email, stream }
    }

    fn article(&self, index: u64) -> Article {
        let mut stream = self.stream(Kind::Product, index);
        Article { id: stream.uuid(), cents: stream.below(300) * 100 + 199, stream }
    }

    /// One to five items; none where there is nothing to buy.
    fn items(&self, order: u64) -> impl Iterator<Item = Item> {
        let mut stream = self.stream(Kind::OrderItems, order);
        let count = if self.plan.products == 0 { 0 } else { 1 + stream.below(5) };
        (0..count).map(move |_| {
            let id = stream.uuid();
            let article = self.article(stream.below(self.plan.products));
            Item { id, product_id: article.id, quantity: 1 + stream.below(4), unit_cents: article.cents }
        })
    }

    fn in_window(&self, stream: &mut Stream) -> Timestamp {
        self.in_share(stream, 0, 1)
    }

    /// A moment in the `index`-th of `count` equal parts of the window.
    fn in_share(&self, stream: &mut Stream, index: u64, count: u64) -> Timestamp {
        let (start, end) = self.window;
        let share = (end.as_second() - start.as_second()) as u64 / count;
        start + SignedDuration::from_secs((share * index + stream.below(share)) as i64)
    }

    /// A moment in the year before the window: what is bought is older than its orders.
    fn before_window(&self, stream: &mut Stream) -> Timestamp {
        self.window.0 - SignedDuration::from_secs(1 + stream.below(365 * 86_400) as i64)
    }
}

/// Name and address of the customer of this index.
fn identity(stream: &mut Stream, index: u64) -> (String, String) {
    let name = format!("{} {}", stream.pick(&words::FIRST_NAMES), stream.pick(&words::LAST_NAMES));
    // Names hold no digits, so the number alone makes the address the customer's own.
    let email = format!("{}{}@{}", words::mailbox(&name), index + 1, stream.pick(&words::MAIL_DOMAINS));
    (name, email)
}
