//! `deliver-webhook`: tells a shop that its session has ended. See README.md.

mod call;
mod deliver;
mod event;
mod wire;

pub use wire::run;
