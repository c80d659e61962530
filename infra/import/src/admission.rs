//! A tenant's place in Intake, and the key with which its files are sent.
//!
//! Of the predecessor's keys only hashes are known. They are taken over, so that the shops' keys go on working; but nobody can
//! send with a hash. So a tenant gets a second key while it is imported, which the log of keys shows, and which is revoked
//! at its end. It is noted in the import's folder before it is live: one that nobody knows could not be revoked.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use intake_domain::api_key::{self, ApiKey};
use intake_domain::audit::KeyEvent;
use intake_postgres::admin::{self, NewTenant};
use intake_postgres::keys::{self, KeyRow, NewKey};
use intake_postgres::{Client, Error};
use uuid::Uuid;

use crate::folder::Imported;
use intake::keys::KeyFile;
use intake::tenants_file::legacy_key;

/// How many characters of a key are shown.
const PREFIX_CHARS: usize = 12;

/// A key with which a tenant's files can be sent.
pub(super) struct Admission {
    key: String,
    is_temporary: bool,
}

impl Admission {
    /// Makes the tenant if it is not there, takes its key over, and finds a key to send with.
    pub(super) async fn give(client: &mut Client, tenant: &Imported, dir: &Path) -> anyhow::Result<Self> {
        let hash = tenant.key_hash.as_deref().map(decode).transpose()?;
        let derived = hash.filter(|hash| api_key::hash(&legacy_key(tenant.id)) == *hash);
        if let Some(hash) = hash {
            // of an imported key only its hash is known, unless it is one that the predecessor derived
            let prefix = match derived {
                Some(_) => legacy_key(tenant.id)[..PREFIX_CHARS].to_owned(),
                None => api_key::prefix_of_hash(&hash),
            };
            add(client, tenant, NewKey { hash, prefix }, KeyEvent::Imported).await?;
        }
        let mut file = KeyFile::open(dir)?;
        if let Some(key) = file.get(Some(tenant.id)).map(str::to_owned)
            && live(client, tenant.id).await?.iter().any(|live| key.starts_with(&live.prefix))
        {
            return Ok(Self { key, is_temporary: true });
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| anyhow!("the system has no random bytes: {error}"))?;
        let key = ApiKey::generate(random);
        file.remember(tenant.id, key.as_str())?;
        let new = NewKey::from(&key);
        let added = match hash {
            Some(_) => keys::rotate(client, tenant.id, &new).await.map(drop).map_err(anyhow::Error::from),
            None => add(client, tenant, new, KeyEvent::Added).await,
        };
        match added {
            Ok(()) => Ok(Self { key: key.as_str().to_owned(), is_temporary: true }),
            Err(error) => {
                file.forget(tenant.id)?;
                let is_full = matches!(error.downcast_ref::<Error>(), Some(Error::TwoLiveKeys { .. }));
                let key = legacy_key(tenant.id);
                let is_live = derived.is_some()
                    && live(client, tenant.id).await?.iter().any(|live| live.prefix == key[..PREFIX_CHARS]);
                match is_full {
                    true if is_live => Ok(Self { key, is_temporary: false }),
                    true => Err(error).context("it has no room for a key to import with: revoke one of the two"),
                    false => Err(error),
                }
            }
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What is to be known of the key while it is live.
    pub(super) fn in_words(&self) -> String {
        match self.is_temporary {
            true => format!("the temporary key {} stays live", &self.key[..PREFIX_CHARS]),
            false => "nothing else has changed".to_owned(),
        }
    }

    /// Revokes the key, if it was made for the import, and forgets it.
    pub(super) async fn end(self, client: &mut Client, tenant: &Imported, dir: &Path) -> anyhow::Result<()> {
        if !self.is_temporary {
            return Ok(());
        }
        // a tenant whose own key could not be taken over is left without one
        let even_the_last = tenant.key_hash.is_none();
        match keys::revoke(client, tenant.id, &self.key[..PREFIX_CHARS], even_the_last).await {
            Ok(_) | Err(Error::NoSuchKey { found: 0, .. }) => {}
            // its own was revoked meanwhile: then that is how it is to be
            Err(Error::LastKey(_)) => {
                drop(keys::revoke(client, tenant.id, &self.key[..PREFIX_CHARS], true).await?);
            }
            Err(error) => return Err(error).context("cannot revoke the temporary key"),
        }
        KeyFile::open(dir)?.forget(tenant.id)
    }
}

async fn add(client: &mut Client, tenant: &Imported, key: NewKey, event: KeyEvent) -> anyhow::Result<()> {
    let new = NewTenant { id: tenant.id, name: tenant.name.clone(), key };
    admin::add_tenant(client, &new, event).await?;
    Ok(())
}

async fn live(client: &Client, tenant: Uuid) -> anyhow::Result<Vec<KeyRow>> {
    Ok(keys::list(client, Some(tenant)).await?.into_iter().filter(KeyRow::is_live).collect())
}

fn decode(hash: &str) -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(hash, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => bail!("the hash of a key is none"),
    }
}
