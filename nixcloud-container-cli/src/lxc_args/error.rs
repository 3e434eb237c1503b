//! What is wrong with the words of `-l`.

use super::Tool;
use super::option::Here;

/// Words of `-l` that are refused: always the user's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgsError {
    /// The tool has no such option.
    #[error("{} has no option `{option}`; of its options these work here: {}", .tool.name(), works(*.tool))]
    Unknown { tool: Tool, option: String },
    /// The beginning of several long options.
    #[error("`{option}` is the beginning of several options of {}: {}", .tool.name(), .of.join(", "))]
    Ambiguous { tool: Tool, option: String, of: Vec<String> },
    /// The words end too early.
    #[error("`{option}` of {} takes a value: {value}", .tool.name())]
    NoValue { tool: Tool, option: String, value: &'static str },
    /// A value where none belongs.
    #[error("`{option}` of {} takes no value", .tool.name())]
    Value { tool: Tool, option: String },
    /// The tool has it, and here it makes no sense.
    #[error("`{option}` of {} does not work here: {why}; {instead}", .tool.name())]
    Refused { tool: Tool, option: String, why: String, instead: String },
    /// A value that the option does not take.
    #[error("`{value}` is nothing that `{option}` of {} takes: {why}", .tool.name())]
    Invalid { tool: Tool, option: &'static str, value: String, why: String },
    /// A word that is no option.
    #[error("`{word}` is no option of {}: {instead}", .tool.name())]
    Operand { tool: Tool, word: String, instead: &'static str },
    /// Options that exclude each other.
    #[error("`{one}` of {} does not go with {other}", .tool.name())]
    Conflict { tool: Tool, one: &'static str, other: &'static str },
}

fn works(tool: Tool) -> String {
    let honoured = tool.options().filter(|option| matches!(option.here, Here::Honoured(_)));
    honoured.map(super::option::Opt::typed).collect::<Vec<_>>().join(", ")
}
