//! `refresh-metrics`: days whose sales have changed are counted anew. See README.md.

mod refresh;
mod wire;

pub use wire::run;
