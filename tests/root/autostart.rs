//! All containers at once: started with the host in their order, and ended with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nixcloud_container::{
    AutostartOutcome, AutostartRequest, AutostopOutcome, AutostopRequest, Cancel, ContainerChange, Error,
    Event, Manager, State,
};

use crate::harness::guest::id;
use crate::harness::{File, Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_autostart_keeps_order_and_autostop_the_reverse,
        root_no_more_boot_at_once_than_asked,
        root_a_container_that_fails_stops_only_those_after_it,
        root_the_current_generation_says_whether_it_starts,
        root_after_a_cut_off_switch_the_generation_before_says_whether_it_starts,
        root_autostop_kills_who_hangs_only_when_asked,
        root_autostop_of_all_has_an_end,
        root_a_cancelled_autostart_begins_nothing_more,
        root_a_hundred_guests_start_with_the_host,
        root_thirty_systemd_guests_start_with_the_host,
    ],
    both: [],
}

/// What was told about containers, each with its time.
#[derive(Default)]
struct Diary(Vec<(String, ContainerChange, Instant)>);

impl Diary {
    fn note(&mut self, event: &Event) {
        if let Event::ContainerChanged { name, change, .. } = event {
            self.0.push((name.to_string(), *change, Instant::now()));
        }
    }

    #[track_caller]
    fn time(&self, guest: &Guest<'_>, change: ContainerChange) -> Instant {
        let found = self.0.iter().find(|(name, what, _)| name == guest.name().as_str() && *what == change);
        found.unwrap_or_else(|| panic!("{} was never {change}: {:?}", guest.name(), self.words())).2
    }

    fn words(&self) -> Vec<String> {
        self.0.iter().map(|(name, change, _)| format!("{name} {change}")).collect()
    }

    /// How many were being started at once.
    fn most_at_once(&self) -> usize {
        let (mut now, mut most) = (0_usize, 0);
        for (_, change, _) in &self.0 {
            match change {
                ContainerChange::Starting => now += 1,
                ContainerChange::Started | ContainerChange::Failed => now -= 1,
                _ => {}
            }
            most = most.max(now);
        }
        most
    }
}

/// Creates a container whose file says `autostart = SAYS`.
#[track_caller]
fn made<'l>(lab: &'l Lab, name: &str, says: &str) -> Guest<'l> {
    let guest = lab.busybox(name);
    guest.create_from(&file(&guest, says));
    guest
}

fn file(guest: &Guest<'_>, says: &str) -> File {
    guest.file().keys(&format!("autostart = {says};"))
}

/// `after = [ "NAME" ]`, as the lab calls it.
fn after(guest: &Guest<'_>) -> String {
    format!("after = [ \"{}\" ];", guest.name())
}

#[track_caller]
fn autostart(manager: &Manager, request: &AutostartRequest) -> (HashMap<String, AutostartOutcome>, Diary) {
    let mut diary = Diary::default();
    let all = manager.autostart(request, &mut |event| diary.note(&event)).must("autostart");
    (all.into_iter().map(|one| (one.name.to_string(), one.outcome)).collect(), diary)
}

#[track_caller]
fn autostop(manager: &Manager, request: &AutostopRequest) -> (HashMap<String, AutostopOutcome>, Diary) {
    let mut diary = Diary::default();
    let all = manager.autostop(request, &mut |event| diary.note(&event)).must("autostop");
    (all.into_iter().map(|one| (one.name.to_string(), one.outcome)).collect(), diary)
}

#[track_caller]
fn assert_started(outcomes: &HashMap<String, AutostartOutcome>, count: usize) {
    assert_eq!(outcomes.len(), count, "{outcomes:?}");
    for (name, outcome) in outcomes {
        assert!(matches!(outcome, AutostartOutcome::Started { .. }), "{name}: {outcome:?}");
    }
}

#[track_caller]
fn assert_stopped(outcomes: &HashMap<String, AutostopOutcome>, count: usize) {
    assert_eq!(outcomes.len(), count, "{outcomes:?}");
    for (name, outcome) in outcomes {
        assert!(matches!(outcome, AutostopOutcome::Stopped), "{name}: {outcome:?}");
    }
}

fn root_autostart_keeps_order_and_autostop_the_reverse(lab: &Lab) {
    use ContainerChange::{Started, Starting, Stopped, Stopping};
    let db = made(lab, "db", "{ delay = 1; }");
    let web = made(lab, "web", &format!("{{ order = -3; {} }}", after(&db)));
    let early = made(lab, "early", "{ order = -5; }");
    let late = made(lab, "late", "{ order = 10; }");
    let hand = made(lab, "hand", "false");
    let request = AutostartRequest::new().with_parallel(4);
    let (outcomes, diary) = autostart(lab.manager(), &request);
    assert_started(&outcomes, 4);
    assert!(diary.time(&db, Starting) >= diary.time(&early, Started));
    assert!(diary.time(&web, Starting) >= diary.time(&db, Started) + Duration::from_secs(1));
    assert!(diary.time(&late, Starting) >= diary.time(&web, Started));
    assert_eq!(hand.state(), State::Stopped);
    // What runs is left alone, and nothing waits for its delay.
    let begin = Instant::now();
    let (outcomes, _) = autostart(lab.manager(), &AutostartRequest::default());
    assert!(
        outcomes.values().all(|outcome| matches!(outcome, AutostartOutcome::AlreadyRunning)),
        "{outcomes:?}"
    );
    assert!(begin.elapsed() < Duration::from_millis(900));

    hand.start_only();
    let (outcomes, diary) = autostop(lab.manager(), &AutostopRequest::default());
    assert_stopped(&outcomes, 5);
    for (first, then) in [(&hand, &late), (&late, &web), (&web, &db), (&db, &early)] {
        assert!(diary.time(first, Stopped) <= diary.time(then, Stopping), "{:?}", diary.words());
    }
    assert!(autostop(lab.manager(), &AutostopRequest::default()).0.is_empty());
}

fn root_no_more_boot_at_once_than_asked(lab: &Lab) {
    for name in ["a", "b", "c", "d", "e", "f"] {
        made(lab, name, "true");
    }
    for (parallel, most) in [(1, 1), (3, 3)] {
        let request = AutostartRequest::new().with_parallel(parallel);
        let (outcomes, diary) = autostart(lab.manager(), &request);
        assert_started(&outcomes, 6);
        assert_eq!(diary.most_at_once(), most, "{:?}", diary.words());
        assert_stopped(&autostop(lab.manager(), &AutostopRequest::default()).0, 6);
    }
    let few = lab.manager_with(|config| config.autostart.parallel = 2);
    assert_eq!(autostart(&few, &AutostartRequest::default()).1.most_at_once(), 2);
}

fn root_a_container_that_fails_stops_only_those_after_it(lab: &Lab) {
    let bad = lab.busybox("bad");
    bad.create_from(
        &file(&bad, "true").keys("network.bridge = \"br-none\";").keys("network.ip = \"10.9.0.2/24\";"),
    );
    let behind = made(lab, "behind", &format!("{{ {} }}", after(&bad)));
    let further = made(lab, "further", &format!("{{ {} }}", after(&behind)));
    let lost = made(lab, "lost", "{ after = [ \"nobody\" ]; }");
    let other = made(lab, "other", "false");
    let unasked = made(lab, "unasked", &format!("{{ {} }}", after(&other)));
    let mut ring = lab.busybox("ring-a");
    let end = made(lab, "ring-b", &format!("{{ {} }}", after(&ring)));
    ring.create_from(&file(&ring, &format!("{{ {} }}", after(&end))));
    let broken = made(lab, "broken", "true");
    let hurt = made(lab, "hurt", &format!("{{ {} }}", after(&broken)));
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", broken.name()));
    let kept = std::fs::read(&record).unwrap();
    std::fs::write(&record, "schema = ").unwrap();
    let good = made(lab, "good", "{ order = 100; }");

    let told = lab.cli(["autostart", "--json", "--quiet"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.stderr, "");
    let answer: serde_json::Value = serde_json::from_str(&lab.plain(&told.stdout)).unwrap();
    crate::json::holds(&answer, "autostart");
    let names = |key: &str| -> Vec<&str> {
        answer[key].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap_or_default()).collect()
    };
    assert_eq!(names("started"), ["good"]);
    assert_eq!(names("failed"), ["broken", "bad", "lost", "unasked", "ring-a", "ring-b"]);
    assert_eq!(names("skipped"), ["behind", "further", "hurt"]);
    let message = |name: &str| {
        let one = answer["failed"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        one["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message("bad"), "bridge br-none does not exist");
    assert_eq!(message("lost"), "it is to start after `nobody`, which does not exist");
    assert_eq!(message("unasked"), "it is to start after `other`, which does not start with the host");
    assert_eq!(message("ring-a"), "it is to start after itself: `ring-a` after `ring-b` after `ring-a`");
    assert_eq!(answer["skipped"][1], serde_json::json!({ "name": "further", "after": "behind" }));
    assert_eq!(answer["skipped"][2]["after"], "broken");

    let told = lab.cli(["autostart"]);
    assert_eq!(told.code, 1);
    let (stdout, stderr) = (lab.plain(&told.stdout), lab.plain(&told.stderr));
    assert_eq!(stdout, "1 already running, 6 failed, 3 skipped\n");
    for line in [
        "good: already running",
        "bad: failed",
        "error: bad: bridge br-none does not exist",
        "error: behind: it comes after `bad`, which does not run",
    ] {
        assert!(stderr.lines().any(|said| said == line), "`{line}` is not in\n{stderr}");
    }
    for guest in [&behind, &further, &lost, &unasked, &end, &hurt] {
        assert_eq!(guest.state(), State::Stopped, "{}", guest.name());
    }
    assert_eq!(good.state(), State::Running);

    // Of one whose record cannot be read nobody knows whether it runs; the others end.
    let told = lab.cli(["autostop"]);
    assert_eq!((told.code, told.stdout.as_str()), (1, "1 stopped, 1 still running or unknown\n"));
    std::fs::write(&record, kept).unwrap();
    assert_eq!(lab.cli(["autostop"]).done(), "no container runs");
    ring = lab.busybox("ring-a");
    ring.destroy();
}

fn root_the_current_generation_says_whether_it_starts(lab: &Lab) {
    let web = made(lab, "web", "false");
    assert_eq!(lab.cli(["autostart"]).done(), "no container starts with this host");
    web.update(&file(&web, "true"));
    assert_eq!(lab.cli(["autostart"]).done(), "1 started");
    web.container().switch_generation(id(1), &mut ()).must("switch back");
    assert_eq!(lab.cli(["autostop"]).done(), "1 stopped");
    assert_eq!(lab.cli(["autostart"]).done(), "no container starts with this host");
    assert_eq!(web.state(), State::Stopped);
}

/// As a power cut leaves it: the profile leads to a generation that has not proved itself.
fn root_after_a_cut_off_switch_the_generation_before_says_whether_it_starts(lab: &Lab) {
    let web = made(lab, "web", "true");
    web.update(&file(&web, "false").version("2"));
    let record = lab.path(&format!("/var/lib/nixcloud/container/records/{}.toml", web.name()));
    let text = std::fs::read_to_string(&record).unwrap();
    let cut_off = text.replace("[phase]\nis = \"ready\"\n", "[phase]\nis = \"switching\"\nfrom = 1\n");
    assert_ne!(text, cut_off, "{text}");
    std::fs::write(&record, cut_off).unwrap();
    assert_eq!(lab.cli(["autostart"]).done(), "1 started");
    web.await_version();
    assert_eq!((web.generation(), web.version().as_deref()), (1, Some("1")));
    web.stop();
}

fn root_autostop_kills_who_hangs_only_when_asked(lab: &Lab) {
    let deaf = lab.busybox("deaf");
    deaf.create_from(&file(&deaf, "true").module("standin.ignoreHalt = true;"));
    let frozen = made(lab, "frozen", "false");
    let web = made(lab, "web", "true");
    deaf.start();
    frozen.start();
    web.start();
    frozen.container().freeze().must("freeze");
    let request = AutostopRequest::new().with_timeout(Duration::from_secs(2));
    let (outcomes, _) = autostop(lab.manager(), &request);
    let of = |outcomes: &HashMap<String, AutostopOutcome>, guest: &Guest<'_>| {
        format!("{:?}", outcomes[guest.name().as_str()])
    };
    assert!(of(&outcomes, &deaf).starts_with("Failed(StopTimeout"), "{outcomes:?}");
    // It was thawed, to hear that it is to end.
    assert_eq!((of(&outcomes, &frozen), of(&outcomes, &web)), ("Stopped".into(), "Stopped".into()));
    assert_eq!(deaf.state(), State::Running);
    let told = lab.cli(["autostop", "--kill", "-t", "1", "--json"]);
    assert_eq!(told.done(), format!(r#"{{"stopped":[],"killed":["{}"],"failed":[]}}"#, deaf.name()));
    assert_eq!(deaf.state(), State::Stopped);
}

fn root_autostop_of_all_has_an_end(lab: &Lab) {
    let deaf = ["a", "b", "c"].map(|name| {
        let guest = lab.busybox(name);
        let order = format!("{{ order = {}; }}", name.as_bytes()[0]);
        guest.create_from(&file(&guest, &order).module("standin.ignoreHalt = true;"));
        guest.start();
        guest
    });
    let request = AutostopRequest::new()
        .with_timeout(Duration::from_secs(60))
        .with_within(Duration::from_secs(2))
        .with_then_kill(true);
    let begin = Instant::now();
    let (outcomes, _) = autostop(lab.manager(), &request);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(outcomes.values().all(|outcome| matches!(outcome, AutostopOutcome::Killed)), "{outcomes:?}");
    assert!(deaf.iter().all(|guest| guest.state() == State::Stopped));
}

fn root_a_cancelled_autostart_begins_nothing_more(lab: &Lab) {
    let first = made(lab, "first", "true");
    let second = made(lab, "second", "{ order = 1; }");
    let cancel = Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let result = manager.autostart(&AutostartRequest::default(), &mut |event| {
        if matches!(event, Event::ContainerChanged { change: ContainerChange::Started, .. }) {
            cancel.cancel();
        }
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!((first.state(), second.state()), (State::Running, State::Stopped));
}

/// Makes so many containers that start with the host, a few at once.
fn many(lab: &Lab, kind: Kind, count: usize) -> Vec<Guest<'_>> {
    let guests: Vec<Guest<'_>> = (0..count).map(|number| lab.guest(&format!("g{number}"), kind)).collect();
    let jobs: Vec<_> =
        guests.iter().map(|guest| (guest.container(), guest.request(&file(guest, "true")))).collect();
    std::thread::scope(|scope| {
        for half in jobs.chunks(count.div_ceil(4)) {
            scope.spawn(move || {
                for (container, request) in half {
                    container.create(request, &mut ()).must("create");
                }
            });
        }
    });
    guests
}

fn all_run(lab: &Lab, guests: &[Guest<'_>]) {
    let (outcomes, diary) = autostart(lab.manager(), &AutostartRequest::default());
    assert_started(&outcomes, guests.len());
    assert_eq!(diary.most_at_once(), lab.manager().config().autostart.parallel());
    for guest in guests {
        guest.await_version();
        assert!(guest.pings(), "{} does not answer", guest.name());
    }
    assert_stopped(&autostop(lab.manager(), &AutostopRequest::default()).0, guests.len());
}

fn root_a_hundred_guests_start_with_the_host(lab: &Lab) {
    let guests = many(lab, Kind::Busybox, 100);
    all_run(lab, &guests);
}

/// The host's limit of inotify instances, raised for a while. It is counted for the owner of a user namespace in all the
/// namespaces above it: every guest's instances count for root in the initial one, so a value in the scenario's own
/// namespaces changes nothing. A guest with systemd takes 7; `host up` raises it on a host.
struct Inotify(Option<String>);

const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH: u32 = 2048;

impl Inotify {
    fn raise() -> Self {
        let was = std::fs::read_to_string(INSTANCES).unwrap();
        if was.trim().parse::<u32>().unwrap() >= ENOUGH {
            return Self(None);
        }
        std::fs::write(INSTANCES, ENOUGH.to_string()).unwrap();
        Self(Some(was))
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        // What somebody else has set meanwhile is theirs.
        let ours = std::fs::read_to_string(INSTANCES).is_ok_and(|now| now.trim() == ENOUGH.to_string());
        if let Some(was) = self.0.take().filter(|_| ours) {
            std::fs::write(INSTANCES, was).unwrap();
        }
    }
}

fn root_thirty_systemd_guests_start_with_the_host(lab: &Lab) {
    let guests = many(lab, Kind::Systemd, 30);
    let _raised = Inotify::raise();
    all_run(lab, &guests);
}
