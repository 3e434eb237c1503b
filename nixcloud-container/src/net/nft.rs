//! The packet filter of this network namespace, by `nft`: a script loaded at once or not at all, and what is there.

use serde_json::Value;

use crate::sys::tool::{self, Tool};

/// Why the packet filter was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `nft` did not do it.
    #[error("cannot {action} the packet filter")]
    #[non_exhaustive]
    Tool {
        /// What was attempted.
        action: &'static str,
        /// The error that this one follows from.
        source: tool::Error,
    },
    /// What `nft` printed is not understood.
    #[error("cannot read the packet filter: what `nft` prints is not understood")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether `nft` is not installed.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Tool { source: tool::Error::Missing { .. }, .. })
    }
}

/// What the kernel has: all tables, or one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruleset {
    /// Chains, each with its rules in order.
    pub chains: Vec<Chain>,
    /// How many elements the named sets and maps have, without those that packets added.
    pub elements: usize,
}

impl Ruleset {
    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }
}

/// A chain of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The address family of its table: `inet`, `ip` ...
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where the kernel calls it: `forward` ...; none for one that others jump to.
    pub hook: Option<String>,
    /// `filter`, `nat`, `route`; of a chain with a hook.
    pub kind: Option<String>,
    /// What becomes of packets that no rule decides about.
    pub policy: Option<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its comment.
    pub comment: Option<String>,
    /// Its statements.
    pub statements: Vec<Value>,
}

/// The kernel's packet filter.
#[derive(Debug, Clone)]
pub struct Nft {
    tool: Tool,
}

impl Nft {
    /// By this program.
    #[must_use]
    pub fn new(tool: Tool) -> Self {
        Self { tool }
    }

    /// Loads a script: all of it takes effect at once, or nothing.
    ///
    /// # Errors
    /// When `nft` or the kernel refuses it.
    pub fn load(&self, script: &str) -> Result<(), Error> {
        self.run("change", &["-f", "-"], script).map(drop)
    }

    /// All that is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ruleset(&self) -> Result<Ruleset, Error> {
        parse(&self.run("read", &["-j", "list", "ruleset"], "")?)
    }

    /// One table; `None` where there is none of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn table(&self, family: &str, name: &str) -> Result<Option<Ruleset>, Error> {
        match self.run("read", &["-j", "list", "table", family, name], "") {
            Ok(text) => parse(&text).map(Some),
            Err(Error::Tool { source: tool::Error::Refused { words, .. }, .. })
                if words.contains("No such file or directory") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn run(&self, action: &'static str, arguments: &[&str], input: &str) -> Result<String, Error> {
        self.tool.run(arguments, input).map_err(|source| Error::Tool { action, source })
    }
}

/// Reads the JSON of libnftables-json(5), as far as it concerns us.
///
/// # Errors
/// When it is no such JSON.
pub fn parse(json: &str) -> Result<Ruleset, Error> {
    let whole: Value = serde_json::from_str(json)?;
    let mut ruleset = Ruleset::default();
    for object in whole["nftables"].as_array().into_iter().flatten() {
        if let Some(chain) = object.get("chain") {
            ruleset.chains.push(Chain {
                family: text(chain, "family"),
                table: text(chain, "table"),
                name: text(chain, "name"),
                hook: optional(chain, "hook"),
                kind: optional(chain, "type"),
                policy: optional(chain, "policy"),
                rules: Vec::new(),
            });
        } else if let Some(set) = object.get("map").or_else(|| object.get("set")) {
            // What packets have added says more than its value.
            let ours = |element: &&serde_json::Value| element.get("elem").is_none();
            ruleset.elements +=
                set["elem"].as_array().map_or(0, |elements| elements.iter().filter(ours).count());
        } else if let Some(rule) = object.get("rule") {
            let (family, table, name) = (text(rule, "family"), text(rule, "table"), text(rule, "chain"));
            let chain = ruleset
                .chains
                .iter_mut()
                .find(|chain| chain.family == family && chain.table == table && chain.name == name);
            if let Some(chain) = chain {
                let statements = rule["expr"].as_array().cloned().unwrap_or_default();
                chain.rules.push(Rule { comment: optional(rule, "comment"), statements });
            }
        }
    }
    Ok(ruleset)
}

fn optional(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn text(object: &Value, key: &str) -> String {
    optional(object, key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::observe::Cancel;
    use crate::net::testing::in_own_netns;

    #[test]
    fn root_what_is_loaded_is_read_and_what_fails_changes_nothing() {
        in_own_netns(|| {
            let nft = Nft::new(Tool::new(Path::new("nft"), &Cancel::new()));
            assert_eq!(nft.ruleset().unwrap(), Ruleset::default());
            assert_eq!(nft.table("inet", "t").unwrap(), None);
            nft.load(
                "table inet t {\n chain f {\n type filter hook forward priority 0; policy drop;\n \
                 iifname \"a\" accept comment \"x\"\n }\n chain g { }\n}\n",
            )
            .unwrap();
            let table = nft.table("inet", "t").unwrap().unwrap();
            assert_eq!(table, nft.ruleset().unwrap());
            let [f, g] = &table.chains[..] else { panic!("{table:?}") };
            assert_eq!((f.hook.as_deref(), f.policy.as_deref()), (Some("forward"), Some("drop")));
            assert_eq!((g.name.as_str(), g.hook.as_deref(), g.rules.len()), ("g", None, 0));
            assert_eq!(f.rules[0].comment.as_deref(), Some("x"));
            assert_eq!(f.rules[0].statements.len(), 2);

            let error = nft.load("delete table inet t\ndelete table inet u\n").unwrap_err();
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(why.contains("No such file or directory"), "{why}");
            assert_eq!(nft.table("inet", "t").unwrap(), Some(table));
        });
    }

    #[test]
    fn a_missing_nft_is_known() {
        let nft = Nft::new(Tool::new(Path::new("/nowhere/nft"), &Cancel::new()));
        assert!(nft.ruleset().unwrap_err().is_missing());
        assert!(nft.table("inet", "x").unwrap_err().is_missing());
    }
}
