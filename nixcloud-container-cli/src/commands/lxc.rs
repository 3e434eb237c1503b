//! `-n` and `-l` of each command, read before anything is done: words that are refused are the command line's fault.

use nixcloud_container::{ContainerName, UserArgs};

use super::Failure;
use crate::cli::{
    ApplyArgs, CreateArgs, DestroyArgs, EvalArgs, ListArgs, LoginArgs, LxcArgs, NamePattern, NixArgs,
    PlanArgs, RunArgs, SessionArgs, StartArgs, StopArgs, ToolArgs, UpdateArgs,
};
use crate::lxc_args::{ArgsError, Attach, Create, Destroy, Ls, Start, Stop};
use crate::screen::printer::Printer;

/// Reads the words of `-l`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) printer: &'a Printer,
}

impl Reader<'_> {
    pub(super) fn create(self, args: &CreateArgs) -> Result<Create, Failure> {
        nix("create", &args.nix)?;
        self.items("create", &args.lxc, |words| Create::parse(&args.name, words))
    }

    pub(super) fn update(self, args: &UpdateArgs) -> Result<Create, Failure> {
        nix("update", &args.nix)?;
        match &args.name {
            Some(name) => self.items("update", &args.lxc, |words| Create::parse(name, words)),
            None => Ok(Create::default()),
        }
    }

    pub(super) fn plan(self, args: &PlanArgs) -> Result<Create, Failure> {
        nix("plan", &args.nix)?;
        self.items("plan", &args.lxc, |words| Create::parse(&args.name, words))
    }

    pub(super) fn apply(self, args: &ApplyArgs) -> Result<(), Failure> {
        nix("apply", &args.nix)
    }

    pub(super) fn eval(self, args: &EvalArgs) -> Result<(), Failure> {
        nix("eval", &args.nix)
    }

    fn items(
        self,
        command: &str,
        lxc: &LxcArgs,
        read: impl FnOnce(&[String]) -> Result<Create, ArgsError>,
    ) -> Result<Create, Failure> {
        // No `-l` at all is another thing than `-l ""`.
        let Some(words) = lxc.words() else { return Ok(Create::default()) };
        let asked = told(command, read(&words))?;
        self.quiet(asked.quiet);
        Ok(asked)
    }

    pub(super) fn start(self, args: &StartArgs) -> Result<Start, Failure> {
        let mut asked = told("start", Start::parse(&args.name, &words(&args.lxc)))?;
        asked.request.foreground |= args.foreground;
        if asked.request.foreground && asked.request.console.is_some() {
            return Err(Failure::usage(
                "start",
                "in the foreground, the console is shown here: `-c` is for others",
            ));
        }
        if asked.request.foreground && args.wait.wait.is_some() {
            return Err(Failure::usage(
                "start",
                "in the foreground, the guest's end is waited for: `--wait` is for others",
            ));
        }
        self.quiet(asked.quiet);
        Ok(asked)
    }

    pub(super) fn stop(self, args: &StopArgs) -> Result<Stop, Failure> {
        self.stop_of("stop", args, Ok)
    }

    pub(super) fn restart(self, args: &StopArgs) -> Result<Stop, Failure> {
        self.stop_of("restart", args, Stop::for_restart)
    }

    fn stop_of(
        self,
        command: &str,
        args: &StopArgs,
        limit: fn(Stop) -> Result<Stop, ArgsError>,
    ) -> Result<Stop, Failure> {
        let asked = told(command, Stop::parse(&args.name, &words(&args.lxc)).and_then(limit))?;
        self.quiet(asked.quiet);
        match args.timeout {
            None => Ok(asked),
            Some(seconds) => asked.within(seconds).ok_or_else(|| {
                Failure::usage(command, "`-t` and `-l` say different things of the time limit")
            }),
        }
    }

    pub(super) fn terminate(self, args: &ToolArgs) -> Result<(), Failure> {
        let asked = Stop::parse(&args.name, &words(&args.lxc)).and_then(Stop::for_terminate);
        self.quiet(told("terminate", asked)?.quiet);
        Ok(())
    }

    pub(super) fn login(self, args: &LoginArgs) -> Result<Attach, Failure> {
        self.session("login", &args.name, &args.session)
    }

    pub(super) fn run(self, args: &RunArgs) -> Result<Attach, Failure> {
        let (name, _) = args.target().map_err(|error| Failure::usage("run", error))?;
        self.session("run", &name, &args.session)
    }

    fn session(self, command: &str, name: &ContainerName, args: &SessionArgs) -> Result<Attach, Failure> {
        let asked = told(command, Attach::parse(name, &words(&args.lxc)))?;
        if asked.user.is_some() && args.user.is_some() {
            return Err(Failure::usage(command, "the user is named twice: by `-u` and in `-l`"));
        }
        self.quiet(asked.quiet);
        Ok(asked)
    }

    pub(super) fn list(self, args: &ListArgs) -> Result<Ls, Failure> {
        let asked = told("list", Ls::parse(&words(&args.lxc)))?;
        if args.watch.is_some() && (asked.line || asked.columns.is_some()) {
            let text = "`--watch` shows columns of its own: -1, -f and -F of lxc-ls do not go with it";
            return Err(Failure::usage("list", text));
        }
        self.quiet(asked.quiet);
        Ok(asked)
    }

    pub(super) fn destroy(self, args: &DestroyArgs) -> Result<Destroy, Failure> {
        // `-n` of lxc-destroy names one.
        let one = match args.names.as_slice() {
            [NamePattern::This(name)] => Some(name),
            _ => None,
        };
        let asked = told("destroy", Destroy::parse(one, &words(&args.lxc)))?;
        self.quiet(asked.quiet);
        Ok(Destroy { force: asked.force || args.force, ..asked })
    }

    fn quiet(self, quiet: bool) {
        if quiet {
            self.printer.hush();
        }
    }
}

fn words(lxc: &LxcArgs) -> Vec<String> {
    lxc.words().unwrap_or_default()
}

fn told<T>(command: &str, asked: Result<T, ArgsError>) -> Result<T, Failure> {
    asked.map_err(|error| Failure::usage(command, format!("in `-l`, {error}")))
}

/// The library would refuse them, too, but as something that it failed to do.
fn nix(command: &str, args: &NixArgs) -> Result<(), Failure> {
    let Err(error) = UserArgs::parse(&args.words().unwrap_or_default()) else { return Ok(()) };
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(Failure::usage(command, format!("in `-n`, {error}{hint}")))
}
