//! What the library shows can become more without breaking programs: structs and variants get fields, enums get variants. So no
//! program may write or match one whole, and whoever is to make one has a `new` and setters.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Failed;

use super::{OURS, Shown};

/// What has all its variants or fields by what it is: programs may write and match it whole.
const WHOLE: [&str; 9] = [
    // A number or a name.
    "user::Account",
    // How a process ends.
    "worker::Exit",
    // LXC's nine.
    "LogLevel",
    // The kernel's.
    "resources::CgroupVersion",
    // Of a container's interfaces: their names and addresses are made of a bit.
    "interface::Slot",
    // What the table of states answers; a program that asks has to know what to do.
    "state::Permission",
    // An update makes a container or switches one.
    "Updated",
    // Standard streams are three.
    "Streams::Fds",
    // Six bytes.
    "interface::Mac",
];

struct Enum {
    grows: bool,
    /// By name: whether it grows, and its fields.
    variants: BTreeMap<String, (bool, BTreeSet<String>)>,
}

struct Struct {
    grows: bool,
    fields: BTreeSet<String>,
}

/// The types that are shown, by their paths. A type of two paths is there twice.
#[derive(Default)]
struct Types {
    structs: BTreeMap<String, Struct>,
    enums: BTreeMap<String, Enum>,
    /// Functions by path, with how many arguments they take.
    functions: BTreeMap<String, usize>,
    errors: BTreeSet<String>,
}

/// The path, and what comes behind it.
fn split(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c)).unwrap_or(line.len());
    let path = line[..end].trim_end_matches(':');
    (path.strip_prefix(OURS).and_then(|path| path.strip_prefix("::")).unwrap_or(path), &line[path.len()..])
}

fn of(lines: &[String]) -> Types {
    let mut types = Types::default();
    let marked = |line: &str| {
        let bare = line.strip_prefix("#[non_exhaustive] ");
        (bare.is_some(), bare.unwrap_or(line).to_owned())
    };
    for (grows, line) in lines.iter().map(|line| marked(line)) {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            types.structs.insert(split(rest).0.to_owned(), Struct { grows, fields: BTreeSet::new() });
        } else if let Some(rest) = line.strip_prefix("pub enum ") {
            types.enums.insert(split(rest).0.to_owned(), Enum { grows, variants: BTreeMap::new() });
        } else if let Some(rest) = line.strip_prefix("impl core::error::Error for ") {
            types.errors.insert(split(rest).0.to_owned());
        } else if let Some(rest) = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub const fn "))
        {
            let (path, behind) = split(rest);
            types.functions.insert(path.to_owned(), arguments(behind));
        }
    }
    // A variant is told behind its enum, and a field behind its variant.
    for (grows, line) in lines.iter().map(|line| marked(line)) {
        let Some((path, behind)) = line.strip_prefix("pub ").map(split) else { continue };
        let Some((above, name)) = path.rsplit_once("::") else { continue };
        if let Some(shape) = types.structs.get_mut(above).filter(|_| behind.starts_with(": ")) {
            shape.fields.insert(name.to_owned());
        } else if let Some(choice) = types.enums.get_mut(above) {
            choice.variants.insert(name.to_owned(), (grows, BTreeSet::new()));
        } else if let Some((choice, variant)) = above.rsplit_once("::")
            && let Some((_, fields)) =
                types.enums.get_mut(choice).and_then(|choice| choice.variants.get_mut(variant))
        {
            fields.insert(name.to_owned());
        }
    }
    types
}

/// How many arguments a function takes beside its `self`.
fn arguments(behind: &str) -> usize {
    let list = behind.find('(').map_or("", |begin| &behind[begin + 1..]);
    let (mut depth, mut count, mut some) = (0, 0, false);
    for c in list.chars() {
        match c {
            ')' if depth == 0 => break,
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => count += 1,
            _ => some = true,
        }
    }
    count + usize::from(some)
}

/// Whether a path, or the name that the library's root has for it, is one of these.
fn is_whole(path: &str) -> bool {
    WHOLE.iter().any(|whole| *whole == path || whole.rsplit("::").next() == Some(path))
}

/// What of `lines` could not grow.
fn stuck(lines: &[String]) -> Vec<String> {
    let types = of(lines);
    let mut found = Vec::new();
    for (path, shape) in &types.structs {
        if shape.fields.is_empty() {
            continue;
        }
        if !shape.grows && !is_whole(path) {
            found.push(format!("the struct {path} is not #[non_exhaustive]"));
        }
        // Errors are made by the library.
        if types.errors.contains(path) {
            continue;
        }
        // The functions of a type of two paths are told of one of them.
        let last = path.rsplit("::").next().unwrap_or(path);
        let function = |name: &str| {
            let is_its = |known: &str| known == path || known.rsplit("::").next() == Some(last);
            types.functions.iter().find_map(|(known, count)| {
                known.rsplit_once("::").filter(|(of, called)| *called == name && is_its(of)).map(|_| *count)
            })
        };
        let unset: Vec<&str> = shape
            .fields
            .iter()
            .map(String::as_str)
            .filter(|field| function(&format!("with_{field}")).is_none())
            .collect();
        match function("new") {
            None => found.push(format!("the struct {path} has no `new`")),
            Some(given) if given < unset.len() => {
                found.push(format!("the struct {path} has neither setters nor arguments for {unset:?}"));
            }
            Some(_) => {}
        }
    }
    for (path, choice) in &types.enums {
        if !choice.grows && !is_whole(path) {
            found.push(format!("the enum {path} is not #[non_exhaustive]"));
        }
        for (variant, (grows, fields)) in &choice.variants {
            if !grows && !fields.is_empty() && !is_whole(&format!("{path}::{variant}")) {
                found.push(format!("the variant {path}::{variant} is not #[non_exhaustive]"));
            }
        }
    }
    found
}

/// A type that can get no field or variant without breaking programs.
pub(super) fn can_grow(Shown { lines, .. }: &Shown) -> Result<(), Failed> {
    let types = of(lines);
    assert!(types.structs.len() > 50 && types.enums.len() > 50, "nothing was looked at");
    let found = stuck(lines);
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

/// That the check above sees what it is for.
pub(super) fn what_cannot_grow_is_seen(_: &Shown) -> Result<(), Failed> {
    let lines = "
        pub struct nixcloud_container::a::Open
        pub nixcloud_container::a::Open::field: bool
        pub fn nixcloud_container::a::Open::new(bool) -> Self
        #[non_exhaustive] pub struct nixcloud_container::Good
        pub nixcloud_container::Good::one: alloc::collections::btree::map::BTreeMap<u8, bool>
        pub nixcloud_container::Good::other: bool
        pub fn nixcloud_container::Good::new(impl core::convert::Into<alloc::collections::btree::map::BTreeMap<u8, bool>>) -> Self
        pub fn nixcloud_container::Good::with_other(self, bool) -> Self
        #[non_exhaustive] pub struct nixcloud_container::Half
        pub nixcloud_container::Half::one: bool
        pub nixcloud_container::Half::other: bool
        pub fn nixcloud_container::Half::new() -> Self
        pub fn nixcloud_container::Half::with_other(self, bool) -> Self
        #[non_exhaustive] pub struct nixcloud_container::Unmade
        pub nixcloud_container::Unmade::one: bool
        #[non_exhaustive] pub struct nixcloud_container::Error
        pub nixcloud_container::Error::one: bool
        impl core::error::Error for nixcloud_container::Error
        pub enum nixcloud_container::Closed
        pub nixcloud_container::Closed::A
        #[non_exhaustive] pub enum nixcloud_container::Choice
        pub nixcloud_container::Choice::A
        pub nixcloud_container::Choice::A::field: bool
        #[non_exhaustive] pub nixcloud_container::Choice::B
        pub nixcloud_container::Choice::B::field: bool
        pub nixcloud_container::Choice::C(bool)";
    let lines: Vec<String> = lines.lines().map(|line| line.trim().to_owned()).collect();
    let wanted = [
        "the struct Half has neither setters nor arguments for [\"one\"]",
        "the struct Unmade has no `new`",
        "the struct a::Open is not #[non_exhaustive]",
        "the variant Choice::A is not #[non_exhaustive]",
        "the enum Closed is not #[non_exhaustive]",
    ];
    assert_eq!(stuck(&lines), wanted);
    Ok(())
}
