//! Why a row was refused: the stable codes, and the form in which a row's errors travel.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident = $code:literal: $meaning:literal, $example:literal;)*) => {
        /// A stable code for one kind of error in a row. Codes are never renamed or reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// Every code with its meaning and an example of a row, or part of one, that gets it.
            pub const ALL: &[(Code, &'static str, &'static str, &'static str)] =
                &[$((Code::$variant, $code, $meaning, $example),)*];

            /// The code as clients see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$variant => $code,)*
                }
            }
        }
    };
}

codes! {
    LineTooLong = "LINE_TOO_LONG": "The line is over 1 MiB.", "{\"name\": \"xxxx…";
    InvalidUtf8 = "INVALID_UTF8": "The line is not UTF-8.", "{\"name\": \"\\xff\"}";
    InvalidJson = "INVALID_JSON": "The line is not one JSON value, or a field stands in it twice.", "{\"sku\": }";
    NotAnObject = "NOT_AN_OBJECT": "The line is JSON, but no object.", "[1, 2]";
    MissingField = "MISSING_FIELD": "A required field is missing or null.", "{\"sku\": null}";
    WrongType = "WRONG_TYPE": "A field has another JSON type than its column.", "{\"active\": \"yes\"}";
    EmptyText = "EMPTY_TEXT": "A required text is empty.", "{\"sku\": \"\"}";
    TooLong = "TOO_LONG": "A text has more characters than its column takes.", "a sku of 101 characters";
    NulCharacter = "NUL_CHARACTER": "A text holds U+0000, which PostgreSQL cannot store.", "{\"name\": \"a\\u0000\"}";
    InvalidUuid = "INVALID_UUID": "Not a UUID.", "{\"product_id\": \"42\"}";
    InvalidDecimal = "INVALID_DECIMAL": "Not a decimal number.", "{\"price\": \"12,50\"}";
    InvalidInteger = "INVALID_INTEGER": "Not a whole number.", "{\"quantity\": 1.5}";
    OutOfRange = "OUT_OF_RANGE": "A number or time is outside of what its column takes.", "{\"price\": -1}";
    InvalidTimestamp = "INVALID_TIMESTAMP": "Not an ISO 8601 time.", "{\"order_date\": \"01/02/2026\"}";
    InvalidCurrency = "INVALID_CURRENCY": "Not an ISO 4217 code.", "{\"currency\": \"EURO\"}";
    InvalidChoice = "INVALID_CHOICE": "Not one of the values that the field takes.", "{\"order_status\": \"lost\"}";
    InvalidObject = "INVALID_OBJECT": "An object that PostgreSQL cannot store: over 32 levels deep, with a number or string that jsonb refuses, or longer than 992 KiB with its numbers written out.", "{\"metadata\": {\"n\": 1e999}}";
    ColumnCount = "COLUMN_COUNT": "A CSV record has another number of cells than the header.", "a,b under a header of three columns";
    UnbalancedQuote = "UNBALANCED_QUOTE": "A quote opens in a CSV line and does not close within 1 MiB; the line is refused, and reading goes on after it.", "42,\"Ada";
    TenantMismatch = "TENANT_MISMATCH": "The row names another tenant than the one that sent it.", "{\"tenant_id\": \"…\"}";
    NaturalKeyTaken = "NATURAL_KEY_TAKEN": "The row's natural key (e-mail, sku, external order id) belongs to another id.", "a second customer with the same e-mail";
    ExclusiveFields = "EXCLUSIVE_FIELDS": "The row has two fields of which a row has one.", "{\"delta\": 1, \"set\": 5}";
    ClockSkew = "CLOCK_SKEW": "A time that decides is more than five minutes ahead of the clock.", "{\"set\": 5, \"event_time\": \"2999-01-01T00:00:00Z\"}";
    ExpectedLevel = "EXPECTED_LEVEL": "The level is not what the event expects.", "{\"delta\": -1, \"expected\": 7} at a level of 5";
    NegativeLevel = "NEGATIVE_LEVEL": "The level would fall below 0, and on_negative=reject was asked for.", "{\"delta\": -9} at a level of 5";
    LevelTooHigh = "LEVEL_TOO_HIGH": "The level would be over 2147483647.", "{\"delta\": 2147483647} at a level of 5";
    ProductConflict = "PRODUCT_CONFLICT": "Another event of the same product has a conflict: the events of a product apply together or not at all.", "the events before and after an EXPECTED_LEVEL";
    SuspectPrice = "SUSPECT_PRICE": "The product's history does not explain the price, and the tenant wants such prices refused.", "{\"old_price\": 19.99, \"new_price\": 1999}";
    MissingReference = "MISSING_REFERENCE": "The row refers to one that is not there, and the upload asked for such rows to be refused.", "an item of an order that was never sent";
}

/// One error of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowError {
    /// What kind.
    pub code: Code,
    /// The field, as a JSON pointer (RFC 6901); empty for the row as a whole.
    pub pointer: String,
    /// One sentence for people.
    pub detail: String,
}

impl RowError {
    /// An error of the row as a whole.
    #[must_use]
    pub fn of_row(code: Code, detail: impl Into<String>) -> Self {
        Self { code, pointer: String::new(), detail: detail.into() }
    }

    /// An error of one field.
    #[must_use]
    pub fn of_field(code: Code, field: &str, detail: impl Into<String>) -> Self {
        Self { code, pointer: format!("/{field}"), detail: detail.into() }
    }
}
