//! `maintain`: the hourly chores. See README.md.

mod chores;
mod retention;
mod wire;

pub use wire::run;
