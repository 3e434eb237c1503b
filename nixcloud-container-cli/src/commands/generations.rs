//! list-generations, delete-generations, switch-generation, rollback.

use jiff::tz::TimeZone;
use nixcloud_container::{Selection, Switched};

use super::{Context, Failure};
use crate::cli::{DeleteGenerationsArgs, NameArgs, SwitchGenerationArgs};
use crate::exit::Status;
use crate::view;

pub(super) fn list(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let generations = context.container(&args.name).generations()?;
    for line in view::generations(&generations, &TimeZone::system()) {
        context.printer.answer(line);
    }
    Ok(Status::Done)
}

/// Which generations the words name.
pub(super) fn selection(args: &DeleteGenerationsArgs) -> Result<Selection, Failure> {
    Selection::from_words(&args.generations).map_err(|error| Failure::usage("delete-generations", error))
}

pub(super) fn delete(
    context: &Context<'_>,
    args: &DeleteGenerationsArgs,
    selection: &Selection,
) -> Result<Status, Failure> {
    let deleted = context.container(&args.name).delete_generations(selection, &mut context.progress())?;
    let ids: Vec<String> = deleted.iter().map(ToString::to_string).collect();
    context.printer.result(match ids.as_slice() {
        [] => format!("{} has no such generation to delete", args.name),
        [id] => format!("deleted generation {id} of {}", args.name),
        ids => format!("deleted generations {} of {}", ids.join(", "), args.name),
    });
    Ok(Status::Done)
}

pub(super) fn switch(context: &Context<'_>, args: &SwitchGenerationArgs) -> Result<Status, Failure> {
    let done = context.container(&args.name).switch_generation(args.id, &mut context.progress())?;
    switched(context, &done, "switched");
    Ok(Status::Done)
}

pub(super) fn rollback(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let done = context.container(&args.name).rollback(&mut context.progress())?;
    switched(context, &done, "rolled back");
    Ok(Status::Done)
}

/// Tells what became of a container's generation.
pub(super) fn switched(context: &Context<'_>, done: &Switched, verb: &str) {
    context.printer.result(told(done, verb));
    for pending in &done.pending_restart {
        context.printer.result(view::pending(pending));
    }
}

fn told(done: &Switched, verb: &str) -> String {
    let Switched { name, from, to, activated, .. } = done;
    match (from == to, activated) {
        (true, true) => format!("{name} stays at generation {to}, activated again"),
        (true, false) => format!("{name} stays at generation {to}"),
        (false, true) => format!("{verb} {name} in place: generation {from} -> {to}"),
        (false, false) => format!("{verb} {name}: generation {from} -> {to}, booted at the next start"),
    }
}

#[cfg(test)]
mod tests {
    use nixcloud_container::GenerationId;

    use super::*;

    #[test]
    fn a_switch_tells_when_it_takes_effect() {
        let done = |from, to, activated| Switched {
            name: "web".parse().unwrap(),
            from: GenerationId::new(from).unwrap(),
            to: GenerationId::new(to).unwrap(),
            activated,
            pending_restart: vec![],
        };
        assert_eq!(told(&done(1, 2, true), "updated"), "updated web in place: generation 1 -> 2");
        assert_eq!(
            told(&done(2, 1, false), "rolled back"),
            "rolled back web: generation 2 -> 1, booted at the next start"
        );
        assert_eq!(told(&done(2, 2, false), "updated"), "web stays at generation 2");
    }
}
