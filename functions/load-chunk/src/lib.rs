//! `load-chunk`: the lines of one chunk become staged rows and rejects. See README.md.

mod load;
mod validate;
mod wire;

pub use wire::run;
