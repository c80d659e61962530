//! `run-export`: a tenant's rows are written into a file. See README.md.

mod encode;
mod export;
mod object;
mod parquet_file;
mod wire;
mod write;

pub use wire::run;
