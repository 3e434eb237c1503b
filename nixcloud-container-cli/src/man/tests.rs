use std::io::Write;
use std::process::{Command as Program, Stdio};

use super::*;

/// What a program prints for a text, and what it says on stderr.
fn through(program: &mut Program, text: &str) -> (String, String) {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}; scripts/setup-debian.sh installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = text.as_bytes().to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// As a reader has it on a terminal of 80 columns.
fn read(page: &Page) -> String {
    let mut man = Program::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-"]).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
    for variable in ["MANPAGER", "PAGER", "MANOPT", "MANROFFOPT", "MANLESS"] {
        man.env_remove(variable);
    }
    let (text, warnings) = through(&mut man, &page.text);
    assert_eq!(warnings, "", "{}", page.file);
    text
}

/// A text on one line, as it is told however it was broken.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn walk(command: &Command, visit: &mut dyn FnMut(&Command)) {
    visit(command);
    command.get_subcommands().for_each(|command| walk(command, visit));
}

#[test]
fn every_page_renders_without_a_warning_and_fits_80_columns() {
    for page in pages() {
        let groff = through(Program::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]), &page.text);
        assert_eq!(groff, (String::new(), String::new()), "{}", page.file);
        for line in read(&page).lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", page.file);
        }
    }
}

#[test]
fn every_page_has_its_name_for_the_index() {
    for page in pages() {
        let (name, _) = page.file.rsplit_once('.').unwrap();
        let (found, errors) = through(Program::new("lexgrog").arg("-"), &page.text);
        assert!(found.contains(&format!("\"{name} - ")), "{}: {found}{errors}", page.file);
    }
}

#[test]
fn every_command_has_a_page_with_all_its_arguments() {
    let mut count = 0;
    walk(&grammar(), &mut |command| {
        count += 1;
        let page = page(&words(command)).unwrap();
        assert_eq!(page.file, format!("{}.1", name(command)));
        assert!(pages().iter().any(|one| one.file == page.file));
        let text = flat(&read(&page));
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(text.contains(&flat(&arg.to_string())), "{}: no {arg}", page.file);
            if let Some(short) = arg.get_short() {
                assert!(text.contains(&format!(" -{short}")), "{}: no -{short}", page.file);
            }
            // That of `-h` depends on where it is read.
            if arg.get_id() == "help" {
                continue;
            }
            let help = arg.get_long_help().or_else(|| arg.get_help()).unwrap().to_string().replace('`', "");
            assert!(text.contains(&flat(&help)), "{}: {help}", page.file);
        }
        if let ([command], Some(tool)) =
            (&words(command)[..], words(command).first().and_then(|word| Tool::of(word)))
        {
            let (honoured, refused) = lxc_args::listed(tool);
            assert!(!honoured.is_empty() && !refused.is_empty(), "{command}");
            for option in honoured.iter().chain(&refused) {
                let (spelled, does) = (option.spelled.replace('`', ""), option.text.replace('`', ""));
                assert!(text.contains(&flat(&format!("{spelled} {does}"))), "{command}: {spelled}");
            }
        }
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.contains(section), "{}: no {section}", page.file);
        }
    });
    assert_eq!(count, pages().len() - 1, "the overview and each command, and the host configuration");
}

#[test]
fn examples_keep_their_lines() {
    let text = read(&page(&["delete-generations".to_owned()]).unwrap());
    let line = "\n       nixcloud-container delete-generations web old  ";
    assert!(text.contains("EXAMPLES\n") && text.contains(line), "{text}");
}

#[test]
fn the_host_configuration_has_a_page_with_every_key() {
    let text = flat(&read(&page(&["toml".to_owned()]).unwrap()));
    let mut keys = 0;
    for table in toml::tables(nixcloud_container::config::SHOWN) {
        assert!(!table.text.is_empty(), "{:?} is not explained", table.name);
        for key in table.keys {
            keys += 1;
            assert!(!key.text.is_empty(), "{} is not explained", key.line);
            assert!(text.contains(&flat(key.line)), "{}", key.line);
        }
    }
    assert!(keys > 15, "{keys}");
}

#[test]
fn there_is_no_page_of_nothing() {
    for words in [&["nonsense"][..], &["create", "web"], &["help"]] {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        assert!(page(&words).is_none(), "{words:?}");
    }
}

/// Pages name others that there are.
#[test]
fn pages_of_ours_that_are_named_exist() {
    let pages = pages();
    for page in &pages {
        let text = read(page);
        for word in text.split([' ', ',', '\n']).filter(|word| word.starts_with("nixcloud-container")) {
            let Some((name, section)) = word.strip_suffix(')').and_then(|word| word.split_once('(')) else {
                continue;
            };
            let file = format!("{name}.{section}");
            assert!(pages.iter().any(|page| page.file == file), "{} names {word}", page.file);
        }
    }
}
