//! Who follows the prices of a tenant: few at a time, because each holds an environment of the function. A place is held
//! for 15 seconds and held on to by whoever still reads, so that one who died has left it soon. Every function runs inside
//! the scope of a transaction; none commits. All fail with any [`Error`] of the database.

use crate::Error;
use crate::database::{Parameter, Scope};
use tokio_postgres::types::Type;
use uuid::Uuid;

/// How many may follow at a time; `take.sql` says so, too.
const PLACES: usize = 5;

macro_rules! sql {
    ($name:literal) => {
        (concat!("price_followers/", $name), include_str!(concat!("../queries/price_followers/", $name, ".sql")))
    };
}

/// Takes a place; `false` when all are held.
pub async fn take(scope: &Scope<'_>, follower: Uuid) -> Result<bool, Error> {
    // another one who came at the same time got the place that this one saw
    for _ in 0..PLACES {
        if changed(scope, sql!("take"), follower).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Holds on to a place; `false` when it was let go for so long that another one has it.
pub async fn hold_on(scope: &Scope<'_>, follower: Uuid) -> Result<bool, Error> {
    changed(scope, sql!("hold_on"), follower).await
}

/// Leaves a place, if it is still held.
pub async fn leave(scope: &Scope<'_>, follower: Uuid) -> Result<(), Error> {
    changed(scope, sql!("leave"), follower).await.map(drop)
}

async fn changed(scope: &Scope<'_>, (name, sql): (&str, &str), follower: Uuid) -> Result<bool, Error> {
    let with: [Parameter<'_>; 2] = [(&scope.tenant(), Type::UUID), (&follower, Type::UUID)];
    Ok(scope.execute(name, sql, &with).await? > 0)
}
