//! How many different customers there are among many orders, in a kibibyte: HyperLogLog.
//!
//! An id is hashed; the low 11 bits of the hash choose one of 2,048 registers, and the register keeps the highest rank of all its
//! ids: one more than the number of zeros that the rest of the hash begins with. Sketches of parts merge into the sketch of
//! the whole by the maximum of each register, so an id counts once however many days it was seen on.
//! P. Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm" (2007).
//!
//! The estimate is the improved raw one of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
//! (arXiv:1702.01284, algorithm 6), which needs no tables and is without bias for few ids as well as for many.

use uuid::Uuid;

/// The number of bits that choose a register.
const REGISTER_BITS: u32 = 11;

/// How many registers there are.
pub const REGISTERS: usize = 1 << REGISTER_BITS;

/// A rank takes five bits. One that is higher counts as this, which begins to matter beyond 10^12 ids.
const MAX_RANK: u8 = 31;

/// How many ranks there are besides zero.
const RANKS: usize = MAX_RANK as usize;

/// The bytes of a sketch all of whose registers are written, five bits each.
const DENSE_BYTES: usize = REGISTERS * 5 / 8;

/// With more registers than this, all of them take less room than a list of those that are not zero.
const MAX_SPARSE: usize = DENSE_BYTES / 2;

/// What is stated of an estimate: three standard errors of 1.04/√2,048, which 99.7 % of all estimates keep to.
pub const ERROR_BOUND: f64 = 0.069;

/// One id in a sketch: its register and its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The code of an id; the same at all times, since stored sketches consist of it.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        let (high, low) = id.as_u64_pair();
        let hash = mix(high ^ mix(low.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        let register = hash as u16 & (REGISTERS as u16 - 1);
        let rank = ((hash >> REGISTER_BITS).leading_zeros() - REGISTER_BITS + 1).min(u32::from(MAX_RANK));
        Self(register << 5 | rank as u16)
    }

    fn register(self) -> u16 {
        self.0 >> 5
    }

    fn rank(self) -> u8 {
        (self.0 & 31) as u8
    }
}

/// The finalizer of MurmurHash3: every bit of the result depends on every bit of the number.
/// <https://github.com/aappleby/smhasher/wiki/MurmurHash3>
fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

/// A set of ids of which only its size can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sketch {
    /// The registers that are not zero, in their order, while they are few.
    Sparse(Vec<Code>),
    /// The rank of each register.
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl Sketch {
    /// The sketch of these ids.
    #[must_use]
    pub fn of(codes: impl IntoIterator<Item = Code>) -> Self {
        let mut union = Union::default();
        union.extend(codes);
        union.finish()
    }

    /// About how many different ids it has seen; [`ERROR_BOUND`] says how far it may be off.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let mut counts = [0_u32; RANKS + 1];
        match self {
            Self::Sparse(codes) => {
                counts[0] = (REGISTERS - codes.len()) as u32;
                codes.iter().for_each(|code| counts[usize::from(code.rank())] += 1);
            }
            Self::Dense(registers) => registers.iter().for_each(|rank| counts[usize::from(*rank)] += 1),
        }
        let registers = REGISTERS as f64;
        let mut z = registers * tau((registers - f64::from(counts[RANKS])) / registers);
        for count in counts[1..RANKS].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += registers * sigma(f64::from(counts[0]) / registers);
        (registers * registers / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }

    /// Appends it to bytes: the number of registers that follow, two bytes each; or that of all, five bits each.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sparse(codes) => {
                bytes.extend((codes.len() as u16).to_be_bytes());
                bytes.extend(codes.iter().flat_map(|code| code.0.to_be_bytes()));
            }
            Self::Dense(registers) => {
                bytes.extend((REGISTERS as u16).to_be_bytes());
                for eight in registers.chunks_exact(8) {
                    let packed = eight.iter().fold(0_u64, |packed, rank| packed << 5 | u64::from(*rank));
                    bytes.extend(&packed.to_be_bytes()[3..]);
                }
            }
        }
    }

    /// Takes what [`write`](Self::write) wrote from the beginning of bytes; `None` when it is nothing of the kind.
    #[must_use]
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let count = usize::from(u16::from_be_bytes(*bytes.split_off(..2)?.first_chunk()?));
        if count == REGISTERS {
            let mut registers = Box::new([0; REGISTERS]);
            let packed = bytes.split_off(..DENSE_BYTES)?;
            for (eight, packed) in registers.chunks_exact_mut(8).zip(packed.chunks_exact(5)) {
                let packed = packed.iter().fold(0_u64, |packed, byte| packed << 8 | u64::from(*byte));
                eight.iter_mut().rev().enumerate().for_each(|(at, rank)| *rank = (packed >> (5 * at) & 31) as u8);
            }
            return Some(Self::Dense(registers));
        }
        let codes = bytes.split_off(..2 * count)?.chunks_exact(2);
        let codes: Vec<_> = codes.map(|code| Code(u16::from_be_bytes([code[0], code[1]]))).collect();
        let is_in_order = codes.windows(2).all(|two| two[0].register() < two[1].register());
        (count <= MAX_SPARSE && is_in_order).then_some(Self::Sparse(codes))
    }
}

/// Sketches that become one. It takes no more room than a dense one, however many there are.
#[derive(Clone, Debug, Default)]
pub struct Union {
    /// Codes that have not been looked at yet, some of them more than once.
    codes: Vec<Code>,
    registers: Option<Box<[u8; REGISTERS]>>,
}

impl Union {
    /// Adds all that a sketch has seen.
    pub fn add(&mut self, sketch: &Sketch) {
        match sketch {
            Sketch::Sparse(codes) => self.extend(codes.iter().copied()),
            Sketch::Dense(others) => {
                let own = self.registers.get_or_insert_with(|| Box::new([0; REGISTERS]));
                own.iter_mut().zip(others.iter()).for_each(|(own, other)| *own = (*own).max(*other));
            }
        }
    }

    fn settle(&mut self) {
        let registers = self.registers.get_or_insert_with(|| Box::new([0; REGISTERS]));
        for code in self.codes.drain(..) {
            let rank = &mut registers[usize::from(code.register())];
            *rank = (*rank).max(code.rank());
        }
    }

    /// The sketch of all.
    #[must_use]
    pub fn finish(mut self) -> Sketch {
        if self.registers.is_none() {
            // of the codes of one register the last has the highest rank
            self.codes.sort_unstable();
            self.codes.dedup_by(|next, kept| {
                let is_same = next.register() == kept.register();
                if is_same {
                    *kept = *next;
                }
                is_same
            });
            if self.codes.len() <= MAX_SPARSE {
                self.codes.shrink_to_fit();
                return Sketch::Sparse(self.codes);
            }
        }
        self.settle();
        let registers = self.registers.unwrap_or_else(|| Box::new([0; REGISTERS]));
        let is_written = |rank: &(usize, &u8)| *rank.1 > 0;
        if registers.iter().enumerate().filter(is_written).count() > MAX_SPARSE {
            return Sketch::Dense(registers);
        }
        let code = |(register, rank): (usize, &u8)| Code((register as u16) << 5 | u16::from(*rank));
        Sketch::Sparse(registers.iter().enumerate().filter(is_written).map(code).collect())
    }
}

impl Extend<Code> for Union {
    fn extend<Codes: IntoIterator<Item = Code>>(&mut self, codes: Codes) {
        self.codes.extend(codes);
        // as a list they would take more room than the registers do
        if self.codes.len() > REGISTERS / 2 {
            self.settle();
        }
    }
}

/// Ertl's σ: what registers that are still zero add.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * y;
        y += y;
        if sum <= before {
            return sum;
        }
    }
}

/// Ertl's τ: what registers at the highest rank take away.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        y *= 0.5;
        sum -= (1.0 - x).powi(2) * y;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ids as different shops give them: one after another, by chance, or by the time.
    fn id(kind: usize, at: u64) -> Uuid {
        match kind {
            0 => Uuid::from_u128(at.into()),
            1 => Uuid::from_u64_pair(mix(at ^ 0x5eed), mix(at.rotate_left(32) ^ 0xfeed)),
            _ => Uuid::from_u64_pair(0x0190_0000_0000_7000 + (at << 16), 0x8000_0000_0000_0000 | mix(at)),
        }
    }

    #[test]
    fn the_stated_bound_holds_at_every_size() {
        let (mut tried, mut beyond, mut squares) = (0, 0, 0.0);
        for size in [1_u64, 2, 3, 10, 100, 1_000, 2_000, 5_000, 8_000, 12_000, 30_000, 100_000, 300_000] {
            let rounds = if size > 20_000 { 8 } else { 40 };
            for round in 0..rounds {
                for kind in 0..3 {
                    let first = 1_000_000_007 * (round + 1);
                    let codes: Vec<_> = (first..first + size).map(|at| Code::of(id(kind, at))).collect();
                    // seen twice, in two parts that overlap
                    let (one, other) = codes.split_at(codes.len() / 3);
                    let mut union = Union::default();
                    [one, &codes, other].iter().for_each(|part| union.add(&Sketch::of(part.iter().copied())));
                    let error = union.finish().estimate() as f64 / size as f64 - 1.0;
                    tried += 1;
                    beyond += u32::from(error.abs() > ERROR_BOUND);
                    squares += error * error;
                    assert!(error.abs() < 0.12, "{size} of kind {kind}: {error}");
                }
            }
        }
        // three in a thousand may be
        assert!(beyond * 100 <= tried, "{beyond} of {tried} lie beyond the bound");
        let deviation = (squares / f64::from(tried)).sqrt();
        assert!(deviation < ERROR_BOUND / 3.0, "the standard error is {deviation}");
    }

    #[test]
    fn a_handful_is_counted_exactly() {
        for size in 0..=10 {
            assert_eq!(Sketch::of((0..size).map(|at| Code::of(id(1, at)))).estimate(), size);
        }
    }

    #[test]
    fn what_is_no_sketch_is_not_read() {
        for bytes in [&[] as &[u8], &[0], &[0, 1, 7], &[0, 2, 1, 1, 1, 2], &[8, 0, 1], &[9, 0]] {
            assert_eq!(Sketch::read(&mut &*bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_whole_is_its_parts_in_any_order(sizes in prop::collection::vec(0_u64..3_000, 1..5), start in any::<u32>()) {
            let parts = sizes.iter().scan(u64::from(start), |at, size| {
                // they overlap
                let ids = *at..*at + size;
                *at += size / 2;
                Some(ids)
            });
            let parts: Vec<_> = parts.map(|ids| ids.map(|at| Code::of(id(1, at))).collect::<Vec<_>>()).collect();
            let whole = Sketch::of(parts.iter().flatten().copied());
            for order in [parts.iter().collect::<Vec<_>>(), parts.iter().rev().collect()] {
                let mut union = Union::default();
                order.iter().for_each(|part| union.add(&Sketch::of(part.iter().copied())));
                prop_assert_eq!(&union.finish(), &whole);
            }
            let mut bytes = Vec::new();
            whole.write(&mut bytes);
            prop_assert!(bytes.len() <= 2 + DENSE_BYTES);
            bytes.push(42);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Sketch::read(&mut rest), Some(whole));
            prop_assert_eq!(rest, &[42]);
        }
    }
}
