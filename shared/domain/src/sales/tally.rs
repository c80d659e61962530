//! Totals, and the bytes that they are stored as: whatever a day has of one kind in one text of bytes, so that a day is read and
//! written as a few rows however many products it has.

use super::Unreadable;
use crate::sketch::{Sketch, Union};
use uuid::Uuid;

/// What was sold in some span of time, or of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The sum of the totals of the orders, or of the line totals of the items, in hundredths.
    pub cents: u128,
    /// How many pieces; 0 where orders are counted and not their items.
    pub quantity: u64,
    /// How many orders.
    pub orders: u64,
    /// Who ordered. An order without a customer is nobody's.
    pub customers: Sketch,
}

impl Tally {
    /// Appends it to bytes.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        write_number(bytes, self.cents);
        write_number(bytes, self.quantity.into());
        write_number(bytes, self.orders.into());
        self.customers.write(bytes);
    }

    /// Takes one from the beginning of bytes.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &mut &[u8]) -> Result<Self, Unreadable> {
        let cents = read_number(bytes)?;
        let [quantity, orders] = [read_number(bytes)?, read_number(bytes)?].map(u64::try_from);
        let (Ok(quantity), Ok(orders)) = (quantity, orders) else { return Err(Unreadable) };
        Ok(Self { cents, quantity, orders, customers: Sketch::read(bytes).ok_or(Unreadable)? })
    }
}

/// Tallies that become one.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// As in a tally.
    pub cents: u128,
    /// As in a tally.
    pub quantity: u64,
    /// As in a tally.
    pub orders: u64,
    customers: Union,
}

impl Sum {
    /// Adds a tally, none of whose orders was added before.
    pub fn add(&mut self, tally: &Tally) {
        self.cents += tally.cents;
        self.quantity += tally.quantity;
        self.orders += tally.orders;
        self.customers.add(&tally.customers);
    }

    /// The tally of all.
    #[must_use]
    pub fn finish(self) -> Tally {
        let Self { cents, quantity, orders, customers } = self;
        Tally { cents, quantity, orders, customers: customers.finish() }
    }
}

/// What was sold of everything, each order counted once, and what was of each.
pub type OfAll<Key> = (Tally, Vec<(Key, Tally)>);

/// Base 128, the low digits first.
fn write_number(bytes: &mut Vec<u8>, mut number: u128) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<u128, Unreadable> {
    let mut number = 0;
    for at in 0..18 {
        let digit = *bytes.split_off_first().ok_or(Unreadable)?;
        number |= u128::from(digit & 0x7f) << (7 * at);
        if digit < 0x80 {
            return Ok(number);
        }
    }
    Err(Unreadable)
}

/// The tallies of a day's quarters of an hour, each with its number from 0 to 95.
///
/// # Errors
/// [`Unreadable`].
pub fn read_quarters(mut bytes: &[u8]) -> Result<Vec<(u8, Tally)>, Unreadable> {
    let mut quarters = Vec::new();
    while let Some(quarter) = bytes.split_off_first() {
        quarters.push((*quarter, Tally::read(&mut bytes)?));
    }
    Ok(quarters)
}

/// What was sold of all products in a day, each order counted once, and then of each.
///
/// # Errors
/// [`Unreadable`].
pub fn read_products(mut bytes: &[u8]) -> Result<OfAll<Uuid>, Unreadable> {
    let all = Tally::read(&mut bytes)?;
    let mut products = Vec::new();
    while !bytes.is_empty() {
        products.push((read_id(&mut bytes)?, Tally::read(&mut bytes)?));
    }
    Ok((all, products))
}

/// What was sold of all products in a day, each order counted once, and then of those of each category and of none, an order
/// counted once in each.
///
/// # Errors
/// [`Unreadable`].
pub fn read_categories(mut bytes: &[u8]) -> Result<OfAll<Option<Uuid>>, Unreadable> {
    let all = Tally::read(&mut bytes)?;
    let mut categories = Vec::new();
    while let Some(is_one) = bytes.split_off_first() {
        let id = if *is_one == 0 { None } else { Some(read_id(&mut bytes)?) };
        categories.push((id, Tally::read(&mut bytes)?));
    }
    Ok((all, categories))
}

fn read_id(bytes: &mut &[u8]) -> Result<Uuid, Unreadable> {
    let id = bytes.split_off(..16).and_then(|id| id.first_chunk()).ok_or(Unreadable)?;
    Ok(Uuid::from_bytes(*id))
}
