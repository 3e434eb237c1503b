//! Containers by name or by pattern, for the commands that take several.

use std::str::FromStr;

use glob::{MatchOptions, Pattern};
use nixcloud_container::ContainerName;

/// A name, or a pattern of names as a shell has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamePattern {
    /// This container.
    This(ContainerName),
    /// All whose names are like this: `*`, `?`, `[a-c]`.
    Like(Pattern),
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['*', '?', '[']) {
            Pattern::new(text).map(Self::Like).map_err(|error| error.to_string())
        } else {
            text.parse()
                .map(Self::This)
                .map_err(|error: nixcloud_container::name::NameError| error.to_string())
        }
    }
}

impl NamePattern {
    /// Those of `all` that are meant; a name is meant whether it is there or not.
    ///
    /// # Errors
    /// The pattern, where no name is like it.
    pub(crate) fn among(&self, all: &[ContainerName]) -> Result<Vec<ContainerName>, String> {
        match self {
            Self::This(name) => Ok(vec![name.clone()]),
            Self::Like(pattern) => {
                let options = MatchOptions { case_sensitive: true, ..MatchOptions::default() };
                let like = |name: &&ContainerName| pattern.matches_with(name.as_str(), options);
                let found: Vec<ContainerName> = all.iter().filter(like).cloned().collect();
                if found.is_empty() { Err(pattern.to_string()) } else { Ok(found) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_of_names() {
        let all: Vec<ContainerName> =
            ["db", "web-1", "web-2", "web-10"].map(|name| name.parse().unwrap()).into();
        let meant = |text: &str| {
            let found = text.parse::<NamePattern>().unwrap().among(&all);
            found.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(meant("web-?").unwrap(), "web-1 web-2");
        assert_eq!(meant("web*").unwrap(), "web-1 web-2 web-10");
        assert_eq!(meant("[cd]*").unwrap(), "db");
        assert_eq!(meant("gone").unwrap(), "gone");
        assert_eq!(meant("WEB*").unwrap_err(), "WEB*");
        assert!("we!b".parse::<NamePattern>().unwrap_err().contains("`!` at position 3"));
        assert!("web[".parse::<NamePattern>().is_err());
    }
}
