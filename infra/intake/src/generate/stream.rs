//! Random numbers with an address: any row can be drawn again, alone, from its place.

use uuid::{Builder, Uuid};

/// What a stream is drawn for; a part of its address.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The tenant itself; its index is 0.
    Tenant = 1,
    /// A customer.
    Customer,
    /// Whether the customer of this index shares an address, and whose.
    Collision,
    /// A product.
    Product,
    /// A category of products.
    Category,
    /// An order.
    Order,
    /// All items of the order of this index.
    OrderItems,
    /// All prices of the product of this index.
    PriceHistory,
    /// All stock movements of the product of this index.
    StockEvents,
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Stream(u64);

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Stream {
    /// The stream at (`seed`, `tenant`, `kind`, `index`): equal addresses give equal numbers.
    pub fn at(seed: u64, tenant: u64, kind: Kind, index: u64) -> Self {
        let absorb = |state: u64, word: u64| mix(state.wrapping_add(GAMMA) ^ word);
        Self([seed, tenant, kind as u64, index].into_iter().fold(0, absorb))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias of multiply-and-shift is below n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(n)) >> 64) as u64
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A UUID of version 4's shape.
    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.draw()) << 64 | u128::from(self.draw());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
