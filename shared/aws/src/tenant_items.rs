//! A tenant's items in a table of DynamoDB whose ids begin with the tenant: idempotency records, and slots of rate limits.

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

/// The items of a table, by tenant.
#[derive(Clone)]
pub struct TenantItems {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl TenantItems {
    /// Those of that table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table }
    }

    /// How many a tenant has. The whole table is read: an id cannot be asked for by how it begins.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn count<'a>(&'a self, tenant: Uuid) -> Pending<'a, Result<u64, Error>> {
        Box::pin(async move { Ok(self.ids(tenant).await?.len() as u64) })
    }

    /// Removes a tenant's and returns how many there were.
    ///
    /// # Errors
    /// [`Error::Call`]; what was removed until then stays so.
    pub fn remove<'a>(&'a self, tenant: Uuid) -> Pending<'a, Result<u64, Error>> {
        Box::pin(async move {
            let ids = self.ids(tenant).await?;
            for id in &ids {
                let key = AttributeValue::S(id.clone());
                let deleted = self.client.delete_item().table_name(&self.table).key("id", key).send().await;
                deleted.map_err(Error::call("DeleteItem"))?;
            }
            Ok(ids.len() as u64)
        })
    }

    async fn ids(&self, tenant: Uuid) -> Result<Vec<String>, Error> {
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let scanned = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(true)
                .projection_expression("id")
                .filter_expression("begins_with(id, :tenant)")
                .expression_attribute_values(":tenant", AttributeValue::S(format!("{tenant} ")))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(Error::call("Scan"))?;
            ids.extend(scanned.items().iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()));
            from = scanned.last_evaluated_key;
            if from.as_ref().is_none_or(std::collections::HashMap::is_empty) {
                return Ok(ids);
            }
        }
    }
}
