//! Cursors: where a page ended, and of which query it was, so that no other goes on from there.

use intake_lambda::Problem;
use intake_lambda::problem::FieldCode;

/// How much of a query's digest a cursor has: enough to notice a mistake. It opens no door: whatever a cursor says, a tenant
/// sees its own rows alone.
const DIGEST_BYTES: usize = 8;

/// The cursor of a page of that query, which ended there.
pub(crate) fn write(place: &[u8], digest: &[u8; 32]) -> String {
    hex::encode([place, &digest[..DIGEST_BYTES]].concat())
}

/// Where the page of a cursor ended.
///
/// # Errors
/// 400 for what is no cursor of ours, and for one of another query.
pub(crate) fn read<const N: usize>(cursor: &str, digest: &[u8; 32]) -> Result<[u8; N], Problem> {
    let invalid = |detail| Problem::query("cursor", FieldCode::InvalidCursor, detail);
    let bytes = hex::decode(cursor).ok().filter(|bytes| bytes.len() == N + DIGEST_BYTES);
    let bytes = bytes.ok_or_else(|| invalid("is none of ours"))?;
    let (place, of_query) = bytes.split_at(N);
    if of_query != &digest[..DIGEST_BYTES] {
        return Err(invalid("is of another query; a cursor goes with the parameters that it came from"));
    }
    place.try_into().map_err(|_| invalid("is none of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_with_its_query() {
        let cursor = write(&[1, 2, 3], &[7; 32]);
        assert_eq!(read(&cursor, &[7; 32]).expect("it is ours"), [1, 2, 3]);
        assert!(read::<3>(&cursor, &[8; 32]).is_err(), "another query");
        assert!(read::<4>(&cursor, &[7; 32]).is_err());
        for other in ["", "x", "é", "0", &cursor[1..], &format!("{cursor}00")] {
            assert!(read::<3>(other, &[7; 32]).is_err(), "{other}");
        }
    }
}
