//! `migrate`: applies the migrations at deploy time, as the owner of the schema. See README.md.

mod resource;
mod wire;

pub use wire::run;
