//! Whose turn it is: a plan that is being worked off, without a clock of its own.

use std::time::{Duration, Instant};

use super::plan::{Plan, Step};

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Active,
    /// Done; those that wait for it go on at this time.
    Done(Instant),
    Failed,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Begin this step.
    Begin(usize),
    /// This step is left out, since one that it comes after failed.
    Skip {
        /// The step.
        step: usize,
        /// The one that failed, or was left out itself.
        after: usize,
    },
    /// Wait until a step has ended, or until this time.
    Wait(Option<Instant>),
    /// All steps are through.
    End,
}

/// How a plan is worked off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How many steps are active at once, at most.
    pub(super) parallel: usize,
    /// Whether a step is left out where one failed that it comes after.
    pub(super) strict: bool,
}

/// A plan that is being worked off.
#[derive(Debug)]
pub(super) struct Schedule<'p> {
    plan: &'p Plan,
    rules: Rules,
    stages: Vec<Stage>,
    active: usize,
    /// All steps before this one are through, and nobody waits for them.
    first: usize,
}

impl<'p> Schedule<'p> {
    pub(super) fn new(plan: &'p Plan, rules: Rules) -> Self {
        let stage = |bad: bool| if bad { Stage::Failed } else { Stage::Waiting };
        let bad = |step: &Step| step.refused.is_some() || step.broken.is_some();
        let stages = plan.steps.iter().map(|step| stage(bad(step))).collect();
        Self { plan, rules: Rules { parallel: rules.parallel.max(1), ..rules }, stages, active: 0, first: 0 }
    }

    /// How many steps are active.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// What is to be done at this time.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let through = |stage: &Stage| match stage {
            Stage::Done(free) => *free <= now,
            Stage::Failed => true,
            Stage::Waiting | Stage::Active => false,
        };
        while self.stages.get(self.first).is_some_and(through) {
            self.first += 1;
        }
        // The tier of the first step that others wait for: none of a higher one begins.
        let tier = self.plan.steps.get(self.first).map(|step| step.tier);
        for index in self.first..self.stages.len() {
            let step = &self.plan.steps[index];
            if Some(step.tier) > tier {
                break;
            }
            if self.stages[index] != Stage::Waiting {
                continue;
            }
            if self.rules.strict {
                let failed = step.after.iter().find(|before| self.stages[**before] == Stage::Failed);
                if let Some(after) = failed {
                    self.stages[index] = Stage::Failed;
                    return Turn::Skip { step: index, after: *after };
                }
            }
            let free = step.after.iter().all(|before| through(&self.stages[*before]));
            if free && self.active < self.rules.parallel {
                self.stages[index] = Stage::Active;
                self.active += 1;
                return Turn::Begin(index);
            }
        }
        if !self.stages.iter().any(|stage| matches!(stage, Stage::Waiting | Stage::Active)) {
            return Turn::End;
        }
        let times = self.stages[self.first..].iter().filter_map(|stage| match stage {
            Stage::Done(free) if *free > now => Some(*free),
            _ => None,
        });
        Turn::Wait(times.min())
    }

    /// A step has ended. Those that wait for it go on after `delay`; `None` where it failed.
    pub(super) fn ended(&mut self, step: usize, delay: Option<Duration>, now: Instant) {
        self.active -= 1;
        self.stages[step] = match delay {
            // A delay that no clock reaches is one that has no end; a day is as good.
            Some(delay) => Stage::Done(now.checked_add(delay).unwrap_or(now + Duration::from_secs(86_400))),
            None => Stage::Failed,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::plan::Wish;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan(wishes: &[(&str, i64, u64, &[&str])]) -> Plan {
        let wish = |(name, order, delay, after): &(&str, i64, u64, &[&str])| Wish {
            name: name.parse().unwrap(),
            order: *order,
            delay: SECOND * u32::try_from(*delay).unwrap(),
            after: after.iter().map(|name| name.parse().unwrap()).collect(),
        };
        Plan::new(wishes.iter().map(wish).collect(), &BTreeSet::new(), &BTreeSet::new())
    }

    const STRICT: Rules = Rules { parallel: 2, strict: true };

    #[test]
    fn so_many_at_once_and_no_more() {
        let plan = plan(&[("a", 0, 0, &[]), ("b", 0, 0, &[]), ("c", 0, 0, &[])]);
        let (mut schedule, now) = (Schedule::new(&plan, STRICT), Instant::now());
        assert_eq!(schedule.turn(now), Turn::Begin(0));
        assert_eq!(schedule.turn(now), Turn::Begin(1));
        assert_eq!(schedule.turn(now), Turn::Wait(None));
        schedule.ended(1, Some(Duration::ZERO), now);
        assert_eq!(schedule.turn(now), Turn::Begin(2));
        schedule.ended(0, Some(Duration::ZERO), now);
        schedule.ended(2, Some(Duration::ZERO), now);
        assert_eq!(schedule.turn(now), Turn::End);
        assert_eq!(schedule.active(), 0);
    }

    #[test]
    fn a_higher_order_waits_for_the_lower_and_its_delay() {
        let plan = plan(&[("a", 0, 2, &[]), ("b", 0, 0, &[]), ("c", 1, 0, &[])]);
        let (mut schedule, now) = (Schedule::new(&plan, STRICT), Instant::now());
        assert_eq!(schedule.turn(now), Turn::Begin(0));
        assert_eq!(schedule.turn(now), Turn::Begin(1));
        schedule.ended(0, Some(2 * SECOND), now);
        schedule.ended(1, Some(Duration::ZERO), now);
        assert_eq!(schedule.turn(now), Turn::Wait(Some(now + 2 * SECOND)));
        assert_eq!(schedule.turn(now + SECOND), Turn::Wait(Some(now + 2 * SECOND)));
        assert_eq!(schedule.turn(now + 2 * SECOND), Turn::Begin(2));
        schedule.ended(2, Some(9 * SECOND), now);
        // The delay of the last is nobody's.
        assert_eq!(schedule.turn(now + 2 * SECOND), Turn::End);
    }

    #[test]
    fn within_an_order_only_those_that_come_after_wait() {
        let plan = plan(&[("a", 0, 3, &[]), ("b", 0, 0, &["a"]), ("c", 0, 0, &[])]);
        let (mut schedule, now) = (Schedule::new(&plan, STRICT), Instant::now());
        let step = |name: &str| plan.steps.iter().position(|step| step.name.as_str() == name).unwrap();
        assert_eq!(schedule.turn(now), Turn::Begin(step("a")));
        assert_eq!(schedule.turn(now), Turn::Begin(step("c")));
        schedule.ended(step("a"), Some(3 * SECOND), now);
        assert_eq!(schedule.turn(now), Turn::Wait(Some(now + 3 * SECOND)));
        assert_eq!(schedule.turn(now + 3 * SECOND), Turn::Begin(step("b")));
    }

    #[test]
    fn a_failure_stops_those_that_come_after_it_and_no_others() {
        let plan = plan(&[
            ("a", 0, 0, &[]),
            ("b", 0, 0, &["a"]),
            ("c", 0, 0, &["b"]),
            ("d", 5, 0, &[]),
            ("e", 0, 0, &["nobody"]),
            ("f", 0, 0, &["e"]),
        ]);
        let (mut schedule, now) = (Schedule::new(&plan, STRICT), Instant::now());
        let step = |name: &str| plan.steps.iter().position(|step| step.name.as_str() == name).unwrap();
        assert_eq!(schedule.turn(now), Turn::Begin(step("a")));
        assert_eq!(schedule.turn(now), Turn::Skip { step: step("f"), after: step("e") });
        schedule.ended(step("a"), None, now);
        assert_eq!(schedule.turn(now), Turn::Skip { step: step("b"), after: step("a") });
        assert_eq!(schedule.turn(now), Turn::Skip { step: step("c"), after: step("b") });
        assert_eq!(schedule.turn(now), Turn::Begin(step("d")));
        schedule.ended(step("d"), Some(Duration::ZERO), now);
        assert_eq!(schedule.turn(now), Turn::End);
    }

    #[test]
    fn on_the_way_back_a_failure_stops_nothing() {
        let back = plan(&[("a", 0, 0, &[]), ("b", 0, 0, &["a"])]).reversed([]);
        let (mut schedule, now) = (Schedule::new(&back, Rules { strict: false, ..STRICT }), Instant::now());
        assert_eq!(schedule.turn(now), Turn::Begin(0));
        assert_eq!(schedule.turn(now), Turn::Wait(None));
        schedule.ended(0, None, now);
        assert_eq!(schedule.turn(now), Turn::Begin(1));
    }

    #[test]
    fn a_circle_does_not_hang() {
        let plan = plan(&[("a", 0, 0, &["b"]), ("b", 0, 0, &["a"]), ("c", 0, 0, &["a"])]);
        let (mut schedule, now) = (Schedule::new(&plan, STRICT), Instant::now());
        assert!(matches!(schedule.turn(now), Turn::Skip { .. }));
        assert_eq!(schedule.turn(now), Turn::End);
    }
}
