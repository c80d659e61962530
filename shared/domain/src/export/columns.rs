//! What can be taken out, and the columns of it.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An id.
    Uuid,
    /// A text.
    Text,
    /// A decimal number with two digits after its point, and so many in all.
    Decimal(u8),
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A truth value.
    Bool,
    /// An instant, to the microsecond.
    Timestamp,
    /// The text of a JSON value.
    Json,
}

impl Kind {
    /// As a manifest has it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Uuid => "uuid".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Decimal(precision) => format!("decimal({precision},2)"),
            Self::Integer => "int32".to_owned(),
            Self::Long => "int64".to_owned(),
            Self::Bool => "boolean".to_owned(),
            Self::Timestamp => "timestamp(us,UTC)".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: that of the field, where the dataset can be uploaded.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub is_nullable: bool,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_nullable: false }
}

const fn nullable(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, is_nullable: true }
}

const MONEY: Kind = Kind::Decimal(12);

/// Something that can be taken out.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in requests; that of the dataset, where it can be uploaded.
    pub name: &'static str,
    /// All columns, in the order of a file.
    pub columns: &'static [Column],
    /// The filters that apply, by their names in requests.
    pub filters: &'static [&'static str],
    /// How the rows of a file are ordered: by these columns.
    pub order: &'static [&'static str],
}

/// Every source.
pub static SOURCES: &[&Source] = &[&ORDERS, &ORDER_ITEMS, &PRODUCTS, &CUSTOMERS, &STOCK, &PRICE_EVENTS];

const OF_ORDERS: &[&str] =
    &["q", "order_status", "product_ids", "min_price", "max_price", "start_date", "end_date", "payload"];

static ORDERS: Source = Source {
    name: "orders",
    columns: &[
        column("order_id", Kind::Uuid),
        column("external_order_id", Kind::Text),
        nullable("customer_id", Kind::Uuid),
        nullable("customer_name_snapshot", Kind::Text),
        nullable("customer_email_snapshot", Kind::Text),
        column("total_amount", MONEY),
        column("currency", Kind::Text),
        column("order_status", Kind::Text),
        column("order_date", Kind::Timestamp),
        nullable("raw_payload", Kind::Json),
        column("created_at", Kind::Timestamp),
    ],
    filters: OF_ORDERS,
    order: &["order_date", "order_id"],
};

static ORDER_ITEMS: Source = Source {
    name: "order_items",
    columns: &[
        column("order_item_id", Kind::Uuid),
        column("order_id", Kind::Uuid),
        column("product_id", Kind::Uuid),
        column("quantity", Kind::Integer),
        column("unit_price", MONEY),
        column("line_total", MONEY),
    ],
    filters: OF_ORDERS,
    order: &["order_item_id"],
};

static PRODUCTS: Source = Source {
    name: "products",
    columns: &[
        column("product_id", Kind::Uuid),
        column("sku", Kind::Text),
        column("name", Kind::Text),
        column("price", MONEY),
        nullable("category_id", Kind::Uuid),
        column("active", Kind::Bool),
        column("created_at", Kind::Timestamp),
    ],
    filters: &["product_ids", "min_price", "max_price", "start_date", "end_date"],
    order: &["product_id"],
};

static CUSTOMERS: Source = Source {
    name: "customers",
    columns: &[
        column("customer_id", Kind::Uuid),
        column("name", Kind::Text),
        column("email", Kind::Text),
        nullable("metadata", Kind::Json),
        column("created_at", Kind::Timestamp),
    ],
    filters: &["q", "start_date", "end_date"],
    order: &["customer_id"],
};

static STOCK: Source = Source {
    name: "stock",
    columns: &[
        column("product_id", Kind::Uuid),
        column("level", Kind::Integer),
        nullable("set_at", Kind::Timestamp),
        column("sequence", Kind::Long),
        column("updated_at", Kind::Timestamp),
    ],
    filters: &["product_ids", "start_date", "end_date"],
    order: &["product_id"],
};

static PRICE_EVENTS: Source = Source {
    name: "price_events",
    columns: &[
        column("event_id", Kind::Uuid),
        column("product_id", Kind::Uuid),
        column("old_price", MONEY),
        column("new_price", MONEY),
        nullable("source", Kind::Text),
        nullable("metadata", Kind::Json),
        column("event_time", Kind::Timestamp),
        column("received_at", Kind::Timestamp),
        column("outcome", Kind::Text),
        nullable("pct_change", Kind::Decimal(17)),
        column("anomaly_detected", Kind::Bool),
        nullable("anomaly_reason", Kind::Text),
        column("suspect", Kind::Bool),
        column("reasons", Kind::Json),
        nullable("decision", Kind::Text),
        nullable("decided_at", Kind::Timestamp),
    ],
    filters: &["product_ids", "min_price", "max_price", "start_date", "end_date"],
    order: &["event_id"],
};

impl Source {
    /// The source of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SOURCES.iter().copied().find(|source| source.name == name)
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<Column> {
        self.columns.iter().copied().find(|column| column.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{self, Missing};

    #[test]
    fn what_can_be_uploaded_has_all_its_fields() {
        for source in SOURCES {
            let Some(dataset) = dataset::by_name(source.name) else { continue };
            for field in dataset.fields {
                let column = source.column(field.name).expect(field.name);
                assert!(!column.is_nullable || field.missing != Missing::Refused, "{}", field.name);
            }
            assert_eq!(dataset.created_at && dataset.name != "price_events", source.column("created_at").is_some());
        }
    }

    #[test]
    fn files_are_ordered_by_what_is_in_them() {
        for source in SOURCES {
            assert!(source.order.iter().all(|name| source.column(name).is_some_and(|column| !column.is_nullable)));
        }
    }
}
