//! What stands above the functions' parts of the OpenAPI document.

use intake_lambda::edge;
use serde_json::Value;

/// In the order in which readers meet them.
const TAGS: [(&str, &str); 10] = [
    ("Uploads", "Sessions: declare files, upload them straight to storage, see what became of every row."),
    ("Small files", "A file of up to 4 MiB in the request itself."),
    ("Stock", "Events that move the levels of products, and where the levels stand."),
    ("Prices", "Prices that change, what looked wrong about them, and what is to be done then."),
    (
        "Orders",
        "Orders that are looked for by time, status, total, customer, product or payload, and one with its items.",
    ),
    ("Catalog", "Products and customers, as they are."),
    ("Metrics", "What was sold, and what was uploaded, over time."),
    ("Exports", "Files that rows are written into, as CSV, lines of JSON or Parquet, for seven days."),
    ("Health", "Whether the API runs."),
    ("Documentation", "These pages."),
];

/// The whole document, made of the parts of all functions.
#[must_use]
pub fn document(parts: impl IntoIterator<Item = Value>) -> Value {
    edge::document("Intake", include_str!("description.md"), &TAGS, parts)
}
