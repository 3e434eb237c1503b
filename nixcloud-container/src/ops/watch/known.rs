//! What a watch knows of one container, and what follows from news of it: pure, so that the order of news is all that counts.

use jiff::Timestamp;

use crate::model::generation::GenerationId;
use crate::model::occurrence::{Busy, End, Occurred};
use crate::model::state::State;
use crate::store::journal::{Note, Wish};
use crate::sys::pidfd::Ended;
use crate::sys::proc::Process;

/// What is known of a container.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether it is there; `None` while nothing is known of it.
    pub(super) there: Option<bool>,
    created: Option<Timestamp>,
    generation: Option<GenerationId>,
    pub(super) guest: Option<Guest>,
    pub(super) busy: Option<Busy>,
    /// The last init whose end was told.
    ended: Option<Process>,
    /// What an operation last wanted of which init.
    asked: Option<(Process, Wish)>,
    /// Why it cannot be read, as it was told.
    unreadable: Option<String>,
}

/// A guest that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) init: Process,
    pub(super) ready: bool,
    frozen: bool,
    /// Whether it began before what is told begins.
    before: bool,
}

/// What a look at a container has shown.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) created: Timestamp,
    /// Whether it is whole; `None` while it is being destroyed.
    pub(super) whole: Option<bool>,
    pub(super) state: State,
    pub(super) init: Option<Process>,
    /// Whether its init is another than that of its start, of the same monitor of LXC's.
    pub(super) rebooted: bool,
    pub(super) generation: Option<GenerationId>,
    /// The generation that the guest was booted from.
    pub(super) booted: Option<GenerationId>,
    pub(super) booting: bool,
}

/// What news are told to: what happened, and when.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Timestamp, Occurred);

/// How an init ended, as far as the kernel has said.
pub(super) type How<'a> = &'a dyn Fn(Process) -> Option<Ended>;

impl Known {
    /// A line of the journal. What it says may be known already.
    pub(super) fn read(&mut self, at: Timestamp, note: Note, how: How<'_>, tell: Tell<'_>) {
        match note {
            Note::Begun { operation, pid } => {
                let busy = Busy { operation: Some(operation), pid: Some(pid), since: at };
                if self.busy.replace(busy) != Some(busy) {
                    tell(at, Occurred::Busy(busy));
                }
            }
            Note::Done => self.idle(at, tell),
            Note::Created { generation } => self.create(at, None, Some(generation), tell),
            Note::Started { init, generation } => {
                self.there = Some(true);
                self.start(at, init, generation, false, how, tell);
            }
            Note::Asked { init, wish } => self.asked = Some((init, wish)),
            Note::Ended { init } => self.note_end(at, init, how, tell),
            Note::Frozen => self.freeze(at, true, tell),
            Note::Unfrozen => self.freeze(at, false, tell),
            Note::Switched { from, to } => {
                self.there = Some(true);
                self.generation.get_or_insert(from);
                self.switch(at, Some(to), tell);
            }
            Note::Destroyed => self.destroy(at, how, tell),
        }
    }

    /// What a look has shown. Says whether that passes by itself: then it is to be looked at again.
    pub(super) fn look(&mut self, at: Timestamp, seen: &Seen, how: How<'_>, tell: Tell<'_>) -> bool {
        self.unreadable = None;
        match seen.whole {
            Some(false) => {
                self.gone(at, how, tell);
                return false;
            }
            Some(true) => {
                if self.created.is_some_and(|created| created != seen.created) {
                    self.gone(at, how, tell);
                }
                self.create(at, Some(seen.created), seen.generation, tell);
                self.switch(at, seen.generation, tell);
            }
            None => {}
        }
        match (seen.state, seen.init) {
            (State::Running | State::Frozen | State::Unreachable, Some(init)) if self.ended != Some(init) => {
                self.start(at, init, seen.booted, seen.rebooted, how, tell);
                if seen.state != State::Unreachable {
                    self.freeze(at, seen.state == State::Frozen, tell);
                }
                if !seen.booting {
                    self.ready(at, tell);
                }
                false
            }
            // LXC is at it, and tells nobody when it is done.
            (State::Starting | State::Stopping | State::Running | State::Frozen, _) => true,
            _ => {
                self.end(at, false, how, tell);
                false
            }
        }
    }

    /// The first look: what is seen is as it is, and nothing happened.
    pub(super) fn adopt(&mut self, seen: &Seen) -> bool {
        self.there = seen.whole.or(Some(true));
        self.created = Some(seen.created);
        self.generation = seen.generation;
        let runs = matches!(seen.state, State::Running | State::Frozen | State::Unreachable);
        self.guest = seen.init.filter(|_| runs).map(|init| Guest {
            init,
            ready: !seen.booting,
            frozen: seen.state == State::Frozen,
            before: true,
        });
        matches!(seen.state, State::Starting | State::Stopping)
    }

    /// What is known by now is of before what is told begins.
    pub(super) fn set_before(&mut self) {
        if let Some(guest) = &mut self.guest {
            guest.before = true;
        }
    }

    /// All that counts of it is who is at it.
    pub(super) fn keep_busy(&mut self) {
        *self = Self { busy: self.busy, ..Self::default() };
    }

    /// That a guest of before has booted is no news.
    pub(super) fn compare(&mut self, seen: &Seen) {
        if let Some(guest) = self.guest.as_mut().filter(|guest| guest.before && seen.init == Some(guest.init))
        {
            guest.ready = !seen.booting;
        }
    }

    /// There is no such container.
    pub(super) fn gone(&mut self, at: Timestamp, how: How<'_>, tell: Tell<'_>) {
        if self.there == Some(true) {
            self.destroy(at, how, tell);
        }
        self.there = Some(false);
    }

    /// It cannot be read.
    pub(super) fn unreadable(&mut self, at: Timestamp, why: String, tell: Tell<'_>) {
        self.there = Some(true);
        if self.unreadable.as_ref() != Some(&why) {
            self.unreadable = Some(why.clone());
            tell(at, Occurred::Unreadable { why });
        }
    }

    /// Nobody holds it.
    pub(super) fn idle(&mut self, at: Timestamp, tell: Tell<'_>) {
        if self.busy.take().is_some() {
            tell(at, Occurred::Idle);
        }
    }

    /// Its guest has booted.
    pub(super) fn ready(&mut self, at: Timestamp, tell: Tell<'_>) {
        if let Some(guest) = self.guest.as_mut().filter(|guest| !guest.ready) {
            guest.ready = true;
            tell(at, Occurred::Ready);
        }
    }

    fn create(
        &mut self,
        at: Timestamp,
        created: Option<Timestamp>,
        generation: Option<GenerationId>,
        tell: Tell<'_>,
    ) {
        self.created = created.or(self.created);
        if self.there.replace(true) != Some(true) {
            self.generation = generation;
            tell(at, Occurred::Created { generation });
        }
    }

    fn switch(&mut self, at: Timestamp, to: Option<GenerationId>, tell: Tell<'_>) {
        let Some(to) = to.filter(|to| self.generation != Some(*to)) else { return };
        // The first that is known of follows no other.
        if let Some(from) = self.generation.replace(to) {
            tell(at, Occurred::Switched { from, to });
        }
    }

    fn start(
        &mut self,
        at: Timestamp,
        init: Process,
        generation: Option<GenerationId>,
        rebooted: bool,
        how: How<'_>,
        tell: Tell<'_>,
    ) {
        if self.guest.is_some_and(|guest| guest.init == init) || self.ended == Some(init) {
            return;
        }
        // Whoever was to reboot, and is followed by another, has.
        let asked = matches!((self.guest, self.asked), (Some(guest), Some((asked, Wish::Reboot))) if guest.init == asked);
        self.end(at, rebooted || asked, how, tell);
        self.guest = Some(Guest { init, ready: false, frozen: false, before: false });
        tell(at, Occurred::Started { init: init.pid, generation });
        tell(at, Occurred::Booting);
    }

    /// A guest whose start was noted with this init is gone.
    fn note_end(&mut self, at: Timestamp, init: Process, how: How<'_>, tell: Tell<'_>) {
        if self.there.is_none() {
            // The line of its start is older than the journal. Of what was looked at it is known that it had ended.
            self.there = Some(true);
            self.guest = Some(Guest { init, ready: true, frozen: false, before: true });
        }
        if self.guest.is_some_and(|guest| guest.init == init) {
            // Where nobody saw it boot again from inside, it is the later init that was asked.
            self.asked =
                self.asked.map(|(asked, wish)| (if asked.start > init.start { init } else { asked }, wish));
            self.end(at, false, how, tell);
        }
    }

    fn end(&mut self, at: Timestamp, rebooted: bool, how: How<'_>, tell: Tell<'_>) {
        let Some(Guest { init, .. }) = self.guest.take() else { return };
        self.ended = Some(init);
        let ended = how(init);
        let asked = self.asked.filter(|(asked, _)| *asked == init).map(|(_, wish)| wish);
        let how = judged(asked, ended, rebooted);
        let (code, signal) = match ended {
            Some(Ended::Code(code)) => (Some(code), None),
            Some(Ended::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        tell(at, Occurred::Ended { init: init.pid, how, code, signal });
    }

    fn freeze(&mut self, at: Timestamp, frozen: bool, tell: Tell<'_>) {
        if let Some(guest) = &mut self.guest {
            if guest.frozen == frozen {
                return;
            }
            guest.frozen = frozen;
        }
        tell(at, if frozen { Occurred::Frozen } else { Occurred::Unfrozen });
    }

    fn destroy(&mut self, at: Timestamp, how: How<'_>, tell: Tell<'_>) {
        self.end(at, false, how, tell);
        if self.there != Some(false) {
            tell(at, Occurred::Destroyed);
        }
        *self = Self { there: Some(false), busy: self.busy, ended: self.ended, ..Self::default() };
    }
}

/// How a guest ended: what an operation had asked its init for, how the init ended as far as that was seen, and whether another init
/// of the same guest follows.
pub(crate) fn judged(asked: Option<Wish>, ended: Option<Ended>, rebooted: bool) -> End {
    match (asked, ended) {
        (Some(Wish::Kill), _) => End::Killed,
        // One that shuts down where it was to reboot is known by that no other follows.
        (Some(Wish::Reboot), Some(Ended::Signal(libc::SIGHUP))) => End::Rebooted,
        (Some(Wish::Reboot), _) if rebooted => End::Rebooted,
        (Some(Wish::Halt | Wish::Reboot), _) => End::Stopped,
        (None, Some(Ended::Signal(libc::SIGHUP))) => End::Rebooted,
        (None, _) if rebooted => End::Rebooted,
        (None, Some(Ended::Signal(libc::SIGKILL))) => End::Killed,
        (None, Some(_)) => End::ByItself,
        (None, None) => End::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::occurrence::Operation;

    const A: Process = Process { pid: 100, start: 1 };
    const B: Process = Process { pid: 200, start: 2 };

    fn generation(number: u64) -> GenerationId {
        GenerationId::new(number).unwrap()
    }

    fn at() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    /// What is told, in short words.
    fn short(what: &Occurred) -> String {
        match what {
            Occurred::Ended { how, .. } => how.to_string(),
            Occurred::Started { init, .. } => format!("started {init}"),
            Occurred::Switched { to, .. } => format!("switched {to}"),
            other => serde_json::to_value(other).unwrap().as_str().map_or_else(
                || format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_lowercase(),
                str::to_owned,
            ),
        }
    }

    #[derive(Default)]
    struct Play {
        known: Known,
        told: Vec<String>,
        ended: Option<Ended>,
    }

    impl Play {
        fn read(&mut self, note: Note) -> &mut Self {
            let (ended, told) = (self.ended, &mut self.told);
            self.known.read(at(), note, &|_| ended, &mut |_, what| told.push(short(&what)));
            self
        }

        fn look(&mut self, state: State, init: Option<Process>) -> bool {
            self.look_at(&seen(state, init))
        }

        fn look_at(&mut self, seen: &Seen) -> bool {
            let (ended, told) = (self.ended, &mut self.told);
            self.known.look(at(), seen, &|_| ended, &mut |_, what| told.push(short(&what)))
        }

        fn told(&mut self) -> Vec<String> {
            std::mem::take(&mut self.told)
        }
    }

    fn seen(state: State, init: Option<Process>) -> Seen {
        Seen {
            created: at(),
            whole: Some(true),
            state,
            init,
            rebooted: false,
            generation: Some(generation(1)),
            booted: Some(generation(1)),
            booting: false,
        }
    }

    #[test]
    fn what_both_the_journal_and_a_look_say_is_told_once() {
        let mut play = Play::default();
        play.read(Note::Begun { operation: Operation::Create, pid: 7 });
        play.read(Note::Created { generation: generation(1) }).read(Note::Done);
        play.look(State::Stopped, None);
        assert_eq!(play.told(), ["busy", "created", "idle"]);
        // The look is quicker than the journal, and the other way round.
        assert!(play.look(State::Starting, Some(A)));
        play.look_at(&Seen { booting: true, ..seen(State::Running, Some(A)) });
        play.read(Note::Started { init: A, generation: None });
        play.look(State::Running, Some(A));
        assert_eq!(play.told(), ["started 100", "booting", "ready"]);
        play.read(Note::Frozen);
        play.look(State::Frozen, Some(A));
        play.look(State::Running, Some(A));
        play.read(Note::Unfrozen);
        assert_eq!(play.told(), ["frozen", "unfrozen"]);
        play.read(Note::Switched { from: generation(1), to: generation(2) });
        play.look_at(&Seen { generation: Some(generation(2)), ..seen(State::Running, Some(A)) });
        assert_eq!(play.told(), ["switched 2"]);
        play.read(Note::Asked { init: A, wish: Wish::Halt });
        play.ended = Some(Ended::Code(0));
        assert!(play.look_at(&Seen { generation: Some(generation(2)), ..seen(State::Stopping, Some(A)) }));
        play.look_at(&Seen { generation: Some(generation(2)), ..seen(State::Stopped, None) });
        play.read(Note::Ended { init: A });
        // A line that is late says nothing new.
        play.read(Note::Started { init: A, generation: None });
        assert_eq!(play.told(), ["stopped"]);
        play.read(Note::Destroyed);
        assert_eq!(play.told(), ["destroyed"]);
    }

    #[test]
    fn how_a_guest_ended_follows_from_who_asked_and_what_the_kernel_says() {
        let killed = Some(Ended::Signal(libc::SIGKILL));
        for (wish, ended, rebooted, how) in [
            (None, Some(Ended::Code(0)), false, "by_itself"),
            (None, Some(Ended::Signal(libc::SIGINT)), false, "by_itself"),
            (None, killed, false, "killed"),
            (None, None, false, "unknown"),
            (None, Some(Ended::Code(0)), true, "rebooted"),
            (None, Some(Ended::Signal(libc::SIGHUP)), false, "rebooted"),
            (Some(Wish::Halt), killed, false, "stopped"),
            (Some(Wish::Halt), None, false, "stopped"),
            (Some(Wish::Kill), None, false, "killed"),
            (Some(Wish::Reboot), None, true, "rebooted"),
            (Some(Wish::Reboot), None, false, "stopped"),
        ] {
            let mut play = Play::default();
            play.read(Note::Started { init: A, generation: None });
            if let Some(wish) = wish {
                // That of another init does not count.
                play.read(Note::Asked { init: A, wish });
            } else {
                play.read(Note::Asked { init: B, wish: Wish::Kill });
            }
            play.told();
            play.ended = ended;
            if rebooted {
                play.look_at(&Seen { rebooted, ..seen(State::Running, Some(B)) });
                assert_eq!(play.told()[..2], [how, "started 200"], "{wish:?} {ended:?}");
            } else {
                play.look(State::Stopped, None);
                assert_eq!(play.told()[..1], [how], "{wish:?} {ended:?}");
            }
        }
    }

    #[test]
    fn what_no_line_told_is_found_by_looking() {
        let mut play = Play::default();
        play.known.adopt(&seen(State::Stopped, None));
        play.look(State::Running, Some(A));
        play.look_at(&Seen { generation: Some(generation(3)), ..seen(State::Running, Some(B)) });
        let anew = Timestamp::from_second(7).unwrap();
        play.look_at(&Seen { created: anew, generation: Some(generation(1)), ..seen(State::Stopped, None) });
        play.known.gone(at(), &|_| None, &mut |_, _| {});
        assert_eq!(
            play.told(),
            [
                "started 100",
                "booting",
                "ready",
                "switched 3",
                "unknown",
                "started 200",
                "booting",
                "ready",
                "unknown",
                "destroyed",
                "created",
            ]
        );
    }

    #[test]
    fn an_end_is_told_whose_start_the_journal_has_no_more() {
        let mut play = Play::default();
        play.read(Note::Begun { operation: Operation::Stop, pid: 7 });
        play.read(Note::Asked { init: A, wish: Wish::Halt }).read(Note::Ended { init: A }).read(Note::Done);
        play.look(State::Stopped, None);
        assert_eq!(play.told(), ["busy", "stopped", "idle"]);
        // Of one that was looked at, it was seen that it had ended.
        let mut play = Play::default();
        play.known.adopt(&seen(State::Stopped, None));
        play.read(Note::Ended { init: A });
        assert_eq!(play.told().len(), 0);
    }

    #[test]
    fn a_guest_that_booted_again_unseen_ended_as_its_later_init_was_asked() {
        let mut play = Play::default();
        play.read(Note::Started { init: A, generation: None });
        play.read(Note::Asked { init: B, wish: Wish::Halt }).read(Note::Ended { init: A });
        assert_eq!(play.told(), ["started 100", "booting", "stopped"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_once() {
        let mut play = Play::default();
        play.known.adopt(&seen(State::Running, Some(A)));
        let told = &mut play.told;
        for why in ["damaged", "damaged", "newer"] {
            play.known.unreadable(at(), why.to_owned(), &mut |_, what| told.push(short(&what)));
        }
        play.look(State::Running, Some(A));
        assert_eq!(play.told(), ["unreadable", "unreadable"]);
    }
}
