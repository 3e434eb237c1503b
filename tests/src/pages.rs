//! The pages that people read, block by block: what stands between fences is run or checked by a test, or says why not.

use std::fs;
use std::path::{Path, PathBuf};

/// What marks the block that follows it, with the reason.
const NOT_RUN: &str = "<!-- not run: ";

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The page, as a path in the repository.
    pub page: String,
    /// The line of its opening fence.
    pub line: usize,
    /// What stands behind that fence.
    pub language: String,
    /// Its text, every line with its end.
    pub text: String,
    /// Why it is not run, where the page says so.
    pub not_run: Option<String>,
}

impl Block {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All blocks of the pages beside and below `docs`.
///
/// # Errors
/// When a page cannot be read, or a fence is not closed.
pub fn blocks() -> Result<Vec<Block>, String> {
    let root = root();
    let mut pages = Vec::new();
    markdown(&root.join("docs"), true, &mut pages)?;
    markdown(&root, false, &mut pages)?;
    let mut blocks = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?;
        let name = page.strip_prefix(&root).unwrap_or(&page).display().to_string();
        of(&name, &text, &mut blocks)?;
    }
    Ok(blocks)
}

fn markdown(folder: &Path, below: bool, pages: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && below {
            markdown(&path, below, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn of(page: &str, text: &str, blocks: &mut Vec<Block>) -> Result<(), String> {
    let mut reason = None;
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(language)) => {
                let (page, language) = (page.to_owned(), language.trim().to_owned());
                let not_run = reason.take();
                open = Some(Block { page, line: index + 1, language, text: String::new(), not_run });
            }
            (None, None) => {
                if let Some(why) = line.trim().strip_prefix(NOT_RUN) {
                    reason = Some(why.trim_end_matches("-->").trim().to_owned());
                } else if !line.trim().is_empty() {
                    reason = None;
                }
            }
        }
    }
    open.map_or(Ok(()), |block| Err(format!("{}: the fence is not closed", block.place())))
}
