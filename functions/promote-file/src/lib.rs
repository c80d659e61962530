//! `promote-file`: the staged rows of one file go into the production tables. See README.md.

mod account;
mod promote;
mod rehearsal;
mod wire;

pub use wire::run;
