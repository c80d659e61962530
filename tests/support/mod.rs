//! What tests stand on: the stack, shops that upload to it, and the books that must balance after every upload.

mod books;
mod events;
mod ground;
mod rows;
mod shop;

pub(crate) use books::Books;
pub(crate) use events::{event, message, object_created};
pub(crate) use ground::{CHUNK_BYTES, Ground, Lease, PART_BYTES};
pub(crate) use rows::{at, customer, id, item, lines, ndjson, order, product};
pub(crate) use shop::{Answer, File, Reject, Session, Shop, counts, file_named};
