//! What tests stand on: the stack, shops that upload to it, and the books that must balance after every upload.

mod books;
mod dice;
mod event_sources;
mod events;
mod fail_points;
mod goods;
mod ground;
mod line;
mod logs;
mod oracle;
pub(crate) mod parquet;
mod probe;
mod rows;
mod scratch;
mod sheet;
mod shop;
pub(crate) mod tables;
mod upload;
mod wire;

pub(crate) use books::Books;
pub(crate) use dice::Dice;
pub(crate) use events::{event, message, object_created};
pub(crate) use fail_points::fail_points;
pub(crate) use goods::{Goods, formats};
pub(crate) use ground::{CHUNK_BYTES, FOLLOW_SECONDS, Ground, Lease, PART_BYTES};
pub(crate) use line::Line;
pub(crate) use logs::Logs;
pub(crate) use oracle::Failure;
pub(crate) use probe::Probe;
pub(crate) use rows::{at, customer, id, item, lines, ndjson, order, product};
pub(crate) use scratch::Scratch;
pub(crate) use sheet::Entry;
pub(crate) use shop::{Answer, File, Reject, Session, Shop, counts, file_named};
pub(crate) use upload::Upload;
pub(crate) use wire::Wire;
