//! The parser, against what `getopt_long` does; the tables; and what each tool's words become.

use std::time::Duration;

use nixcloud_container::{
    ContainerName, Elevated, Environment, LogLevel, LogRequest, Namespace, StartRequest, StopRequest, User,
};
use proptest::prelude::*;

use super::ls::Wanted;
use super::option::{Here, Value};
use super::parse::parse;
use super::*;

const TOOLS: [Tool; 6] = [Tool::Create, Tool::Start, Tool::Stop, Tool::Attach, Tool::Ls, Tool::Destroy];

fn web() -> ContainerName {
    "web".parse().unwrap()
}

/// The words as a shell has them.
fn words(text: &str) -> Vec<String> {
    shlex::split(text).unwrap()
}

fn start(text: &str) -> Result<Start, ArgsError> {
    Start::parse(&web(), &words(text))
}

fn stop(text: &str) -> Result<Stop, ArgsError> {
    Stop::parse(&web(), &words(text))
}

fn attach(text: &str) -> Result<Attach, ArgsError> {
    Attach::parse(&web(), &words(text))
}

fn create(text: &str) -> Result<Create, ArgsError> {
    Create::parse(&web(), &words(text))
}

fn ls(text: &str) -> Result<Ls, ArgsError> {
    Ls::parse(&words(text))
}

/// Options as `long=value`, and operands.
fn shape(tool: Tool, text: &str) -> String {
    let parsed = parse(tool, &words(text)).unwrap();
    let options = parsed.options.iter().map(|given| match &given.value {
        Some(value) => format!("{}={value}", given.option.long),
        None => given.option.long.to_owned(),
    });
    options.chain(parsed.operands).collect::<Vec<_>>().join(" ")
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn words_are_read_as_getopt_long_reads_them() {
    for (text, shape_of) in [
        ("-Fd", "foreground daemon"),
        ("-FL /a", "foreground console-log=/a"),
        ("-FL/a", "foreground console-log=/a"),
        ("-p -F", "pidfile=-F"),
        ("--pidfile=/a", "pidfile=/a"),
        ("--pidfile /a", "pidfile=/a"),
        ("--pidfile=", "pidfile="),
        ("--pid /a", "pidfile=/a"),
        ("--console /a", "console=/a"),
        ("--console-l=/a", "console-log=/a"),
        ("--share-i=a --share-u 1", "share-ipc=a share-uts=1"),
        ("-s a=b=c", "define=a=b=c"),
        ("a -F b", "foreground a b"),
        ("-F -- -d --x", "foreground -d --x"),
        ("-", "-"),
    ] {
        assert_eq!(shape(Tool::Start, text), shape_of, "{text}");
    }
    assert_eq!(shape(Tool::Attach, "-e -u 5"), "elevated-privileges uid=5");
    assert_eq!(shape(Tool::Attach, "-eCAP"), "elevated-privileges=CAP");
    assert_eq!(shape(Tool::Attach, "-e CAP"), "elevated-privileges CAP");
    assert_eq!(shape(Tool::Attach, "--elevated-privileges=LSM"), "elevated-privileges=LSM");
    assert_eq!(shape(Tool::Stop, "-Wt10"), "nowait timeout=10");
}

#[test]
fn what_getopt_long_refuses_is_refused() {
    let start = |text| parse(Tool::Start, &words(text)).unwrap_err();
    assert!(matches!(start("--co"), ArgsError::Ambiguous { of, .. } if of == ["--console", "--console-log"]));
    assert!(matches!(start("--share"), ArgsError::Ambiguous { of, .. } if of.len() == 4));
    assert!(matches!(start("--foreground=yes"), ArgsError::Value { option, .. } if option == "--foreground"));
    assert!(matches!(start("-p"), ArgsError::NoValue { value: "FILE", .. }));
    assert!(matches!(start("--pidfile"), ArgsError::NoValue { .. }));
    assert!(matches!(start("-Fx"), ArgsError::Unknown { option, .. } if option == "-x"));
    assert!(matches!(start("--nope=1"), ArgsError::Unknown { option, .. } if option == "--nope"));
    assert!(matches!(start("-ü"), ArgsError::Unknown { option, .. } if option == "-ü"));
}

#[test]
fn unknown_options_are_told_with_those_that_work() {
    let text = stop("--timeot 3").unwrap_err().to_string();
    assert!(text.starts_with("lxc-stop has no option `--timeot`; "), "{text}");
    assert!(text.contains("-t SECONDS") && text.contains("--nokill") && !text.contains("-P"), "{text}");
}

#[test]
fn refused_options_are_told_with_the_reason_and_a_way() {
    for (text, option) in
        [("-P /x", "-P"), ("--lxcpath=/x", "--lxcpath"), ("-P", "-P"), ("--rcf x", "--rcfile")]
    {
        let error = start(text).unwrap_err();
        assert!(matches!(&error, ArgsError::Refused { option: o, .. } if o == option), "{text}: {error}");
    }
    let text = start("--help").unwrap_err().to_string();
    assert!(text.contains("nixcloud-container help COMMAND") && text.contains("docs/lxc-args.md"), "{text}");
    let text = create("-t download").unwrap_err().to_string();
    assert!(text.contains("`-t` of lxc-create") && text.contains("container file"), "{text}");
}

#[test]
fn every_option_of_a_tool_is_honoured_or_refused_with_words() {
    for tool in TOOLS {
        let options = listing::seen(tool);
        for (at, option) in options.iter().enumerate() {
            let what = format!("{} --{}", tool.name(), option.long);
            match option.here {
                Here::Honoured(does) => assert!(!does.is_empty(), "{what}"),
                Here::Refused { why, instead } => assert!(!why.is_empty() && !instead.is_empty(), "{what}"),
            }
            assert!(!option.means.is_empty(), "{what}");
            for letter in option.short.chars() {
                assert!(options[..at].iter().all(|other| !other.short.contains(letter)), "{what}: -{letter}");
            }
        }
    }
}

/// An honoured option that nobody reads would be taken without a word.
#[test]
fn every_honoured_option_does_something_or_says_that_it_need_not() {
    let value = |option: &str| match option {
        "timeout" | "uid" | "gid" => "7",
        "logpriority" => "INFO",
        "define" => "lxc.group=x",
        "set-var" => "A=B",
        "namespaces" => "PID",
        "fancy-format" => "NAME",
        "name" => "web",
        _ => "word",
    };
    for tool in TOOLS {
        let nothing = read(tool, "");
        for option in
            listing::seen(tool).into_iter().filter(|option| matches!(option.here, Here::Honoured(_)))
        {
            let Here::Honoured(does) = option.here else { continue };
            let text = match option.value {
                Value::Needed(_) => format!("--{}={}", option.long, value(option.long)),
                _ => format!("--{}", option.long),
            };
            // Those that mean something only with another one.
            let text = match option.long {
                "nokill" => "-t 7 --nokill".to_owned(),
                "nolock" => "-k --nolock".to_owned(),
                "remount-sys-proc" => "-s PID -R".to_owned(),
                "elevated-privileges" => "-eCAP".to_owned(),
                _ => text,
            };
            let idle = does.starts_with("nothing more") || does.contains("default");
            assert_eq!(read(tool, &text) == nothing, idle, "{} {text}", tool.name());
        }
    }
}

/// What a tool's words become, as text.
fn read(tool: Tool, text: &str) -> String {
    // `-l ""` of create has a meaning of its own.
    let text = if tool == Tool::Create && text.is_empty() { "-n web" } else { text };
    match tool {
        Tool::Create => format!("{:?}", create(text).unwrap()),
        Tool::Start => format!("{:?}", start(text).unwrap()),
        Tool::Stop => format!("{:?}", stop(text).unwrap()),
        Tool::Attach => format!("{:?}", attach(text).unwrap()),
        Tool::Ls => format!("{:?}", ls(text).unwrap()),
        Tool::Destroy => format!("{:?}", Destroy::parse(Some(&web()), &words(text)).unwrap()),
    }
}

#[test]
fn a_name_is_the_containers_own_or_refused() {
    assert_eq!(start("-n web"), start(""));
    assert_eq!(stop("--name=web"), stop(""));
    assert!(matches!(start("-n mail"), Err(ArgsError::Invalid { option: "-n", .. })));
    assert!(matches!(ls("-n web"), Err(ArgsError::Refused { .. })));
}

#[test]
fn start_takes_all_that_lxc_start_does() {
    let asked = start(
        "-dF -s 'lxc.environment = \"A=b c\"' -c none -L /l -p /p -C --share-ipc db --share-ipc 7 -o /o -l debug -q",
    );
    let asked = asked.unwrap();
    assert!(asked.quiet);
    assert_eq!(
        asked.request,
        StartRequest::new()
            .with_foreground(true)
            .with_items(vec![pair("lxc.environment", "A=b c")])
            .with_console(Some("none".into()))
            .with_console_log(Some("/l".into()))
            .with_pidfile(Some("/p".into()))
            .with_share(vec![(Namespace::Ipc, "7".into())])
            .with_log(LogRequest::new().with_file(Some("/o".into())).with_level(LogLevel::Debug))
    );
    assert!(!start("-Fd").unwrap().request.foreground);
    for bad in [
        "-s a=b",
        "-s lxc.group",
        "-l loud",
        "-p ''",
        "--share-uts ''",
        "--share-ipc ../x",
        "-- /bin/sh",
        "sh",
    ] {
        assert!(start(bad).is_err(), "{bad}");
    }
}

#[test]
fn stop_means_what_lxc_stop_means() {
    let ask = |reboot, seconds: Option<u64>, then_kill, wait| {
        How::Ask(
            StopRequest::new()
                .with_reboot(reboot)
                .with_timeout(seconds.map(Duration::from_secs))
                .with_then_kill(then_kill)
                .with_wait(wait),
        )
    };
    for (text, how) in [
        ("", ask(false, None, false, true)),
        ("-t 10", ask(false, Some(10), true, true)),
        ("-t 10 --nokill", ask(false, Some(10), false, true)),
        ("--nokill", ask(false, None, false, true)),
        ("-t 0", ask(false, None, false, false)),
        ("-W", ask(false, None, false, false)),
        ("-r -t 10", ask(true, Some(10), false, true)),
        ("-rW", ask(true, None, false, false)),
        ("-k", How::Kill),
        ("-k --nolock", How::Kill),
        ("-kW -t 0", How::Kill),
    ] {
        assert_eq!(stop(text).unwrap().how, how, "{text}");
    }
    for bad in ["-k --nokill", "-kr", "-k -t 5", "--nolock", "-t -1", "-t soon", "-t 99999999999", "web"] {
        assert!(stop(bad).is_err(), "{bad}");
    }
}

#[test]
fn restart_and_terminate_take_what_they_can_do() {
    for (text, restart, terminate) in [
        ("", true, true),
        ("-k", true, true),
        ("--nokill", true, true),
        ("-t 5", true, false),
        ("-r", false, false),
        ("-W", false, false),
    ] {
        let asked = stop(text).unwrap();
        assert_eq!(asked.for_restart().is_ok(), restart, "restart {text}");
        assert_eq!(asked.for_terminate().is_ok(), terminate, "terminate {text}");
    }
    assert_eq!(stop("").unwrap().for_terminate().unwrap().how, How::Kill);
}

#[test]
fn attach_takes_users_environments_and_privileges() {
    let asked = attach("-u 1000 -g 100 --keep-env --keep-var LANG -v A=b=c -vE= --clear-env").unwrap();
    assert_eq!((asked.user, asked.environment), (Some(User::ids(1000, Some(100))), Environment::Clear));
    assert_eq!(asked.keep, ["LANG"]);
    assert_eq!(asked.set, [pair("A", "b=c"), pair("E", "")]);
    assert_eq!(attach("--keep-env").unwrap().environment, Environment::Keep);
    assert_eq!(attach("-g 5").unwrap().user, Some(User::ids(0, Some(5))));
    let capabilities = Elevated::new().with_capabilities(true);
    assert_eq!(attach("-eCAP").unwrap().elevated, capabilities);
    let some = attach("-Re -s 'NETWORK|PID|UTSNAME|ipc'").unwrap();
    let wanted = vec![Namespace::Net, Namespace::Pid, Namespace::Uts, Namespace::Ipc];
    assert_eq!((some.namespaces, some.remount), (Some(wanted), true));
    for dangerous in ["-e", "-eLSM", "-e'CAP|CGROUP'"] {
        assert!(matches!(attach(dangerous), Err(ArgsError::Refused { .. })), "{dangerous}");
    }
    assert!(matches!(attach("-R"), Err(ArgsError::Conflict { .. })));
    for bad in [
        "-u joe",
        "-u -1",
        "-u 4294967295",
        "-eROOT",
        "-s WORLD",
        "-s ''",
        "-v =x",
        "-v x",
        "--keep-var a=b",
        "ls",
    ] {
        assert!(attach(bad).is_err(), "{bad}");
    }
}

#[test]
fn items_are_replaced_cleared_or_left_alone() {
    assert_eq!(create("").unwrap().items, Some(vec![]));
    assert_eq!(create("-q").unwrap().items, None);
    assert_eq!(
        create("-s lxc.group=a -slxc.group=b").unwrap().items,
        Some(vec![pair("lxc.group", "a"), pair("lxc.group", "b")])
    );
    assert!(create("-- --release sid").is_err());
}

#[test]
fn ls_filters_and_columns() {
    let asked = ls("-F name,Pid --running --frozen -g a,b '^w'").unwrap();
    assert_eq!(asked.columns.unwrap(), [Column::Name, Column::Pid]);
    assert_eq!(asked.states, [Wanted::Running, Wanted::Frozen]);
    assert_eq!(asked.groups, ["a", "b"]);
    assert!(asked.filter.unwrap().is_match("web"));
    assert_eq!(ls("-f").unwrap().columns.unwrap().len(), 7);
    assert_eq!(ls("-f -F pid -f").unwrap().columns.unwrap(), [Column::Pid]);
    assert!(ls("-1").unwrap().line);
    for bad in ["-F COLOUR", "-F ''", "--filter '('", "a b", "--filter a b", "--nesting", "--nesting=3"] {
        assert!(ls(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_words_make_the_parser_panic(words in prop::collection::vec("[-=a-zA-Z0-9|. üß/]{0,12}|--[a-z-]{0,12}=?[^\\x00]{0,4}|-[a-zA-Z0-9]{1,4}", 0..6)) {
        for tool in TOOLS {
            let _ = parse(tool, &words);
        }
        let _ = (Start::parse(&web(), &words), Stop::parse(&web(), &words), Attach::parse(&web(), &words));
        let _ = (Create::parse(&web(), &words), Ls::parse(&words), Destroy::parse(Some(&web()), &words));
    }

    /// What is put behind `--` is never taken for an option.
    #[test]
    fn operands_stay_operands(words in prop::collection::vec("[^\\x00]{0,8}", 0..5)) {
        let all: Vec<String> = std::iter::once("--".to_owned()).chain(words.iter().cloned()).collect();
        prop_assert_eq!(parse(Tool::Ls, &all).unwrap().operands, words);
    }
}
