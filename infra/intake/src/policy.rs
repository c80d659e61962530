//! What a session is asked for beside its files.

use std::fmt;
use std::str::FromStr;

use intake_domain::tolerance::Tolerance;
use serde::{Deserialize, Serialize};

/// How a session's rows are dealt with: options of the command line, fields of the request. What is not given is the
/// server's to decide.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Check everything and promote nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Whether a file with a bad row goes in without that row, or not at all [default: reject_rows]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
    /// Promote nothing of a file that has more rejects than these, a number or a percentage of its rows
    #[arg(long, value_name = "N|P%")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rejects: Option<MaxRejects>,
    /// What to do with a row that names another which is not there [default: accept]
    #[arg(long, value_enum, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_missing_reference: Option<OnMissingReference>,
    /// Call this address when the session has ended
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

/// What a bad row does to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnError {
    /// The good rows go in
    RejectRows,
    /// Nothing goes in
    RejectFile,
}

/// What becomes of a row whose parent is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnMissingReference {
    /// It goes in, and is counted: its parent may come later
    Accept,
    /// It is refused
    Reject,
}

/// How many rejects a file may have, as requests say it: a number, or a text with a percent sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxRejects {
    /// So many.
    Count(u64),
    /// Such a share of the file's rows.
    Share(String),
}

impl FromStr for MaxRejects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        let share = Tolerance::parse_percent(text).map(|share| Self::Share(share.to_string()));
        share.ok_or_else(|| "neither a number nor a percentage like 5% or 0.25%".to_owned())
    }
}

impl fmt::Display for MaxRejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => f.write_str(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rejects_are_counted_or_a_share() {
        let parse = |text: &str| text.parse::<MaxRejects>().map(|most| json!(most));
        assert_eq!(parse("0"), Ok(json!(0)));
        assert_eq!(parse("100"), Ok(json!(100)));
        assert_eq!(parse("5%"), Ok(json!("5%")));
        assert_eq!(parse("0.5%"), Ok(json!("0.50%")));
        for wrong in ["", "%", "-1", "5 per cent", "101%", "0.125%", "1e3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_names_only_what_was_asked_for() {
        assert_eq!(json!(Policy::default()), json!({"dry_run": false}));
        let policy = Policy {
            dry_run: true,
            on_error: Some(OnError::RejectFile),
            max_rejects: Some(MaxRejects::Share("5%".to_owned())),
            on_missing_reference: Some(OnMissingReference::Reject),
            callback_url: Some("https://example.org/ended".to_owned()),
        };
        let document = json!({
            "dry_run": true,
            "on_error": "reject_file",
            "max_rejects": "5%",
            "on_missing_reference": "reject",
            "callback_url": "https://example.org/ended",
        });
        assert_eq!(json!(policy), document);
        assert_eq!(serde_json::from_value::<Policy>(document).unwrap(), policy);
        assert_eq!(serde_json::from_value::<Policy>(json!({})).unwrap(), Policy::default());
    }
}
