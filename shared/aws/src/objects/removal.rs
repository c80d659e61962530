//! Everything under a prefix, counted and removed: objects in all their versions, and uploads that are not whole yet.

use super::{DELETE_BATCH, Objects};
use crate::{Error, Pending};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

/// What lies under a prefix.
#[derive(Debug, Default)]
struct Page {
    versions: Vec<ObjectIdentifier>,
    /// Where the next page begins, by key and version.
    next: Option<(Option<String>, Option<String>)>,
}

impl Objects {
    /// How many versions of objects and open uploads lie under a prefix; what marks an object as deleted is a version, too.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn count_under<'a>(&'a self, prefix: &'a str) -> Pending<'a, Result<u64, Error>> {
        Box::pin(async move {
            let mut count = self.open_uploads(prefix).await?.len() as u64;
            let mut page = self.versions(prefix, None).await?;
            loop {
                count += page.versions.len() as u64;
                match page.next.take() {
                    Some(next) => page = self.versions(prefix, Some(next)).await?,
                    None => return Ok(count),
                }
            }
        })
    }

    /// Removes every version of every object under a prefix, and drops the uploads that are open there. Returns how many
    /// versions and uploads there were.
    ///
    /// # Errors
    /// [`Error::Call`]; what was removed until then stays so.
    pub fn remove_under<'a>(&'a self, prefix: &'a str) -> Pending<'a, Result<u64, Error>> {
        Box::pin(async move {
            let mut removed = 0;
            for (key, upload) in self.open_uploads(prefix).await? {
                self.abort_multipart(&key, &upload).await?;
                removed += 1;
            }
            loop {
                // from the beginning each time: what was listed is gone
                let page = self.versions(prefix, None).await?;
                if page.versions.is_empty() {
                    return Ok(removed);
                }
                removed += page.versions.len() as u64;
                for batch in page.versions.chunks(DELETE_BATCH) {
                    self.delete_versions(batch.to_vec()).await?;
                }
            }
        })
    }

    async fn delete_versions(&self, versions: Vec<ObjectIdentifier>) -> Result<(), Error> {
        let unreadable = |_| Error::Unreadable("a version");
        let delete = Delete::builder().set_objects(Some(versions)).quiet(true).build().map_err(unreadable)?;
        let deleted = self.client.delete_objects().bucket(&self.bucket).delete(delete).send().await;
        let deleted = deleted.map_err(Error::call("DeleteObjects"))?;
        match deleted.errors().first() {
            None => Ok(()),
            Some(error) => Err(Error::Call {
                operation: "DeleteObjects",
                code: error.code().map(str::to_owned),
                source: error.message().unwrap_or_default().into(),
            }),
        }
    }

    async fn versions(&self, prefix: &str, from: Option<(Option<String>, Option<String>)>) -> Result<Page, Error> {
        let (key, version) = from.unwrap_or_default();
        let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
        let listed = request.set_key_marker(key).set_version_id_marker(version).send().await;
        let listed = listed.map_err(Error::call("ListObjectVersions"))?;
        let objects = listed.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = listed.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let identify = |(key, version): (Option<&str>, Option<&str>)| {
            let object = ObjectIdentifier::builder().key(key.unwrap_or_default());
            object.set_version_id(version.map(str::to_owned)).build().map_err(|_| Error::Unreadable("a version"))
        };
        let versions = objects.chain(markers).map(identify).collect::<Result<_, _>>()?;
        let next = (listed.is_truncated() == Some(true))
            .then(|| (listed.next_key_marker().map(str::to_owned), listed.next_version_id_marker().map(str::to_owned)));
        Ok(Page { versions, next })
    }

    /// Key and id of each upload that is not whole yet.
    async fn open_uploads(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        let (mut found, mut markers) = (Vec::new(), (None, None));
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let listed = request.set_key_marker(markers.0).set_upload_id_marker(markers.1).send().await;
            let listed = listed.map_err(Error::call("ListMultipartUploads"))?;
            let uploads = listed.uploads().iter().filter_map(|upload| upload.key().zip(upload.upload_id()));
            // an emulator may list those of other prefixes, too
            let uploads = uploads.filter(|(key, _)| key.starts_with(prefix));
            found.extend(uploads.map(|(key, id)| (key.to_owned(), id.to_owned())));
            if listed.is_truncated() != Some(true) {
                return Ok(found);
            }
            markers = (listed.next_key_marker().map(str::to_owned), listed.next_upload_id_marker().map(str::to_owned));
        }
    }
}
