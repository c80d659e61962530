//! Which orders are meant: by a search, or by an export.

use uuid::Uuid;

/// All of its conditions hold of an order that is meant; one that is not there asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// A text that the customer's name or e-mail address contains, in whatever case.
    pub text: Option<String>,
    /// The order has one of these statuses; none: any.
    pub statuses: Vec<String>,
    /// The order has an item of one of these products; none: any.
    pub products: Vec<Uuid>,
    /// The total is not less, in hundredths.
    pub min_total: Option<i64>,
    /// The total is not more, in hundredths.
    pub max_total: Option<i64>,
    /// The order is not older, in microseconds since 1970.
    pub start: Option<i64>,
    /// The order is older, in microseconds since 1970.
    pub end: Option<i64>,
    /// An object of JSON that `raw_payload` contains, as PostgreSQL's `@>` has it.
    pub payload: Option<String>,
}
