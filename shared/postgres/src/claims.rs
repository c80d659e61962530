//! Requests that have their effect once, claimed inside of the transaction of the effect, where the answer is kept too:
//! both commit or neither does.

use crate::database::Scope;
use crate::{Error, Pending};
use intake_domain::idempotency::{Answer, Claim, Found};
use std::time::{Duration, SystemTime};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

macro_rules! sql {
    ($name:literal) => {
        (concat!("claims/", $name), include_str!(concat!("../queries/claims/", $name, ".sql")))
    };
}

/// How many expired claims are removed in one transaction.
const REMOVED_AT_ONCE: i64 = 1_000;

/// Takes a claim: where nothing is found, have the effect and [`keep`] the answer in the same transaction. A
/// transaction that has the same claim is waited for. Where anything is found the transaction has nothing more to do,
/// and after [`Found::Running`] it can do nothing more.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn take(scope: &Scope<'_>, claim: &Claim) -> Result<Found, Error> {
    let tenant = (&scope.tenant() as _, Type::UUID);
    let (claim_name, fingerprint) = (claim.name.as_slice(), claim.fingerprint.as_slice());
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    loop {
        let (name, sql) = sql!("take");
        let with = [
            tenant.clone(),
            (&claim_name as _, Type::BYTEA),
            (&fingerprint as _, Type::BYTEA),
            (&at(claim.at) as _, Type::TIMESTAMPTZ),
            (&at(claim.expires_at()) as _, Type::TIMESTAMPTZ),
        ];
        match scope.execute(name, sql, &with).await {
            Ok(0) => {}
            Ok(_) => return Ok(Found::Nothing),
            Err(error) if error.is_lock_timeout() => return Ok(Found::Running),
            Err(error) => return Err(error),
        }
        let (name, sql) = sql!("find");
        let found = scope.query_opt(name, sql, &[tenant.clone(), (&claim_name, Type::BYTEA)]).await?;
        // what has expired may have been removed meanwhile
        let Some(row) = found else { continue };
        if row.get::<_, &[u8]>("fingerprint") != fingerprint {
            return Ok(Found::OtherRequest);
        }
        let answer = row.get::<_, Option<&[u8]>>("answer").and_then(Answer::unpack);
        return answer.map(Found::Answer).ok_or(Error::Corrupt("an effect without its answer"));
    }
}

/// Keeps the answer of a claim that the transaction has taken.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn keep(scope: &Scope<'_>, claim: &Claim, answer: &Answer) -> Result<(), Error> {
    let (name, sql) = sql!("keep");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&claim.name.as_slice() as _, Type::BYTEA),
        (&answer.pack() as _, Type::BYTEA),
    ];
    match scope.execute(name, sql, &with).await? {
        1 => Ok(()),
        _ => Err(Error::Corrupt("an answer without its claim")),
    }
}

/// Gives a claim back whose effect is undone in the same transaction: the next request with its key has it anew.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn release(scope: &Scope<'_>, claim: &Claim) -> Result<(), Error> {
    let (name, sql) = sql!("release");
    let with = [(&scope.tenant() as _, Type::UUID), (&claim.name.as_slice() as _, Type::BYTEA)];
    scope.execute(name, sql, &with).await.map(drop)
}

/// Removes what has expired, of all tenants, a part at a time, and returns how many they were. The operator's
/// connection is asked for: nobody else sees all tenants.
///
/// # Errors
/// Any [`Error`] of the database.
pub fn remove_expired<'a>(owner: &'a Client) -> Pending<'a, Result<u64, Error>> {
    Box::pin(async move {
        let (name, sql) = sql!("remove_expired");
        let mut sum = 0;
        loop {
            let removed = owner.execute(sql, &[&REMOVED_AT_ONCE]).await.map_err(Error::statement(name))?;
            sum += removed;
            if removed < REMOVED_AT_ONCE.unsigned_abs() {
                return Ok(sum);
            }
        }
    })
}
