//! `plan-file`: an uploaded object becomes chunks to load. See README.md.

mod cut;
mod plan;
mod unpack;
mod wire;

pub use wire::run;
