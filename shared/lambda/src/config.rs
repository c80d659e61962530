//! The environment, read once at start.

/// Reads variables and gathers what is wrong with them, so that one start names everything that is missing.
#[derive(Default)]
pub struct Environment {
    wrong: Vec<String>,
}

/// Variables that are missing or unreadable.
#[derive(Debug, thiserror::Error)]
#[error("the environment is incomplete: {}", .0.join(", "))]
pub struct Incomplete(Vec<String>);

impl Environment {
    /// A required text.
    pub fn text(&mut self, name: &str) -> String {
        match std::env::var(name) {
            Ok(value) if !value.is_empty() => value,
            _ => {
                self.wrong.push(format!("{name} is not set"));
                String::new()
            }
        }
    }

    /// A text, or `default` where it is not set.
    pub fn text_or(&mut self, name: &str, default: &str) -> String {
        std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())
    }

    /// A required whole number of at least 1.
    pub fn number(&mut self, name: &str) -> u64 {
        let value = self.text(name);
        match value.parse() {
            Ok(number) if number >= 1 => number,
            _ if value.is_empty() => 1,
            _ => {
                self.wrong.push(format!("{name} must be a whole number of at least 1"));
                1
            }
        }
    }

    /// A whole number of at least 1, or `default` where it is not set.
    pub fn number_or(&mut self, name: &str, default: u16) -> u16 {
        let value = std::env::var(name).unwrap_or_default();
        match value.parse() {
            Ok(number) if number >= 1 => number,
            _ if value.is_empty() => default,
            _ => {
                self.wrong.push(format!("{name} must be a whole number from 1 to {}", u16::MAX));
                default
            }
        }
    }

    /// A whole number from 0 to 65,535.
    pub fn number_from_0(&mut self, name: &str) -> u16 {
        let value = self.text(name);
        match value.parse() {
            Ok(number) => number,
            Err(_) if value.is_empty() => 0,
            Err(_) => {
                self.wrong.push(format!("{name} must be a whole number from 0 to {}", u16::MAX));
                0
            }
        }
    }

    /// A list of texts separated by commas; empty where it is not set.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let value = std::env::var(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Incomplete`] when anything was missing.
    pub fn finish(self) -> Result<(), Incomplete> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Incomplete(self.wrong)) }
    }
}
