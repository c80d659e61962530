//! `record-dead-letter`: what was given up without a word is written into the ledger. See README.md.

mod letter;
mod record;
mod wire;

pub use wire::run;
