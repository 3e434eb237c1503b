//! In which order containers start with the host, and end with it: pure, without a clock or a container.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::model::name::ContainerName;

/// A container that starts with the host, as its current generation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) name: ContainerName,
    /// Lower starts earlier.
    pub(super) order: i64,
    /// What passes after its start before others of a higher order, or that come after it, are started.
    pub(super) delay: Duration,
    pub(super) after: Vec<ContainerName>,
}

/// A container's `autostart.after` that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AfterError {
    /// It names a container that there is not.
    #[error("it is to start after `{name}`, which does not exist")]
    #[non_exhaustive]
    Missing {
        /// The name that `autostart.after` has.
        name: ContainerName,
    },
    /// It names a container that does not start with the host.
    #[error("it is to start after `{name}`, which does not start with the host")]
    #[non_exhaustive]
    NotAutostarted {
        /// The name that `autostart.after` has.
        name: ContainerName,
    },
    /// It is to start after itself, by way of others or at once.
    #[error("it is to start after itself: {}", Circle(.circle))]
    #[non_exhaustive]
    Cycle {
        /// From the container back to itself: each is to start after the next.
        circle: Vec<ContainerName>,
    },
}

struct Circle<'a>(&'a [ContainerName]);

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| format!("`{name}`")).collect();
        f.write_str(&names.join(" after "))
    }
}

/// One container of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: ContainerName,
    /// Its order, or a higher one that it comes after. No step begins before those of lower tiers are through.
    pub(super) tier: i64,
    pub(super) delay: Duration,
    /// The steps that come before it, whatever their tier.
    pub(super) after: Vec<usize>,
    /// Why it cannot be done.
    pub(super) refused: Option<AfterError>,
    /// A container that it comes after and that is in no plan, since it cannot be read.
    pub(super) broken: Option<ContainerName>,
}

/// Containers in the order in which they start, as far as they do not start at once. Tiers never fall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// Orders them: by `after`, then by order, then by name. `others` exist and do not start with the host, `broken`
    /// exist and cannot be read.
    pub(super) fn new(
        wishes: Vec<Wish>,
        others: &BTreeSet<ContainerName>,
        broken: &BTreeSet<ContainerName>,
    ) -> Self {
        let wishes: BTreeMap<ContainerName, Wish> =
            wishes.into_iter().map(|wish| (wish.name.clone(), wish)).collect();
        let graph = Graph::new(&wishes);
        let sequence = graph.sequence(&wishes);
        let mut steps: Vec<Step> = Vec::new();
        let mut places: BTreeMap<&ContainerName, usize> = BTreeMap::new();
        for name in &sequence {
            let Some(wish) = wishes.get(*name) else { continue };
            let after: Vec<usize> = wish.after.iter().filter_map(|name| places.get(name).copied()).collect();
            let tier = after.iter().map(|index| steps[*index].tier).fold(wish.order, i64::max);
            let refused = wish.after.iter().find_map(|name| refusal(name, &wishes, others, broken));
            let broken = wish.after.iter().find(|name| broken.contains(*name)).cloned();
            places.insert(*name, steps.len());
            steps.push(Step { name: wish.name.clone(), tier, delay: wish.delay, after, refused, broken });
        }
        // Those of a circle, and those that come after one: none of them can start.
        let last = steps.last().map_or(0, |step| step.tier);
        let rest: Vec<&ContainerName> = wishes.keys().filter(|name| !places.contains_key(name)).collect();
        places.extend(rest.iter().enumerate().map(|(index, name)| (*name, steps.len() + index)));
        for name in rest {
            let Some(wish) = wishes.get(name) else { continue };
            let circle = graph.circle(name).map(|circle| AfterError::Cycle { circle });
            let other = || wish.after.iter().find_map(|name| refusal(name, &wishes, others, broken));
            let refused = circle.or_else(other);
            let after = wish.after.iter().filter_map(|name| places.get(name).copied()).collect();
            steps.push(Step {
                name: name.clone(),
                tier: last,
                delay: wish.delay,
                after,
                refused,
                broken: None,
            });
        }
        Self { steps }
    }

    /// The way back, for all that run: `others`, which no order holds, begin; a container ends when those that were to
    /// start after it have ended.
    pub(super) fn reversed(&self, others: impl IntoIterator<Item = ContainerName>) -> Self {
        let plain = |name: ContainerName, tier| Step {
            name,
            tier,
            delay: Duration::ZERO,
            after: Vec::new(),
            refused: None,
            broken: None,
        };
        let mut steps: Vec<Step> = others.into_iter().map(|name| plain(name, i64::MIN)).collect();
        let first = steps.len();
        let count = self.steps.len();
        let place = |index: usize| first + count - 1 - index;
        steps
            .extend(self.steps.iter().rev().map(|step| plain(step.name.clone(), step.tier.saturating_neg())));
        for (index, step) in self.steps.iter().enumerate() {
            // A circle has no way back either: its containers end at once.
            for before in step.after.iter().filter(|before| **before < index) {
                steps[place(*before)].after.push(place(index));
            }
        }
        Self { steps }
    }
}

/// Why a container cannot come after `name`.
fn refusal(
    name: &ContainerName,
    wishes: &BTreeMap<ContainerName, Wish>,
    others: &BTreeSet<ContainerName>,
    broken: &BTreeSet<ContainerName>,
) -> Option<AfterError> {
    if wishes.contains_key(name) || broken.contains(name) {
        None
    } else if others.contains(name) {
        Some(AfterError::NotAutostarted { name: name.clone() })
    } else {
        Some(AfterError::Missing { name: name.clone() })
    }
}

/// Who comes after whom, among those that start with the host.
struct Graph<'a> {
    before: BTreeMap<&'a ContainerName, BTreeSet<&'a ContainerName>>,
    behind: BTreeMap<&'a ContainerName, Vec<&'a ContainerName>>,
}

impl<'a> Graph<'a> {
    fn new(wishes: &'a BTreeMap<ContainerName, Wish>) -> Self {
        let mut graph = Self { before: BTreeMap::new(), behind: BTreeMap::new() };
        for (name, wish) in wishes {
            let before: BTreeSet<&ContainerName> =
                wish.after.iter().filter(|name| wishes.contains_key(*name)).collect();
            before.iter().for_each(|other| graph.behind.entry(*other).or_default().push(name));
            graph.before.insert(name, before);
        }
        graph
    }

    /// All that are in no circle and behind none, each behind those that it comes after; else by order, then by name.
    fn sequence(&self, wishes: &'a BTreeMap<ContainerName, Wish>) -> Vec<&'a ContainerName> {
        let mut open: BTreeMap<&ContainerName, usize> =
            self.before.iter().map(|(name, before)| (*name, before.len())).collect();
        let order = |name: &ContainerName| wishes.get(name).map_or(0, |wish| wish.order);
        let mut ready: BTreeSet<(i64, &ContainerName)> =
            open.iter().filter(|(_, count)| **count == 0).map(|(name, _)| (order(name), *name)).collect();
        let mut sequence = Vec::new();
        while let Some((_, name)) = ready.pop_first() {
            sequence.push(name);
            for behind in self.behind.get(name).into_iter().flatten() {
                if let Some(count) = open.get_mut(behind) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert((order(behind), behind));
                    }
                }
            }
        }
        sequence
    }

    /// The shortest way from a container back to itself, if there is one.
    fn circle(&self, name: &ContainerName) -> Option<Vec<ContainerName>> {
        let mut came: BTreeMap<&ContainerName, &ContainerName> = BTreeMap::new();
        let mut next: VecDeque<&ContainerName> = VecDeque::from([name]);
        while let Some(here) = next.pop_front() {
            for before in self.before.get(here).into_iter().flatten() {
                if *before == name {
                    let mut circle = vec![name.clone()];
                    let mut at = here;
                    while at != name {
                        circle.push(at.clone());
                        at = came.get(at)?;
                    }
                    circle.push(name.clone());
                    // It was walked from its end.
                    circle.reverse();
                    return Some(circle);
                }
                if !came.contains_key(before) {
                    came.insert(*before, here);
                    next.push_back(*before);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ContainerName {
        text.parse().unwrap()
    }

    fn wish(text: &str, order: i64, after: &[&str]) -> Wish {
        let after = after.iter().map(|text| name(text)).collect();
        Wish { name: name(text), order, delay: Duration::ZERO, after }
    }

    fn plan(wishes: &[Wish]) -> Plan {
        Plan::new(wishes.to_vec(), &BTreeSet::from([name("other")]), &BTreeSet::from([name("broken")]))
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.name.as_str()).collect()
    }

    fn step<'p>(plan: &'p Plan, text: &str) -> &'p Step {
        plan.steps.iter().find(|step| step.name.as_str() == text).unwrap()
    }

    #[test]
    fn order_then_name_and_after_before_both() {
        let plan = plan(&[
            wish("web", 0, &["db"]),
            wish("db", 10, &[]),
            wish("b", 0, &[]),
            wish("a", 0, &[]),
            wish("late", 11, &[]),
        ]);
        assert_eq!(names(&plan), ["a", "b", "db", "web", "late"]);
        let tiers: Vec<i64> = plan.steps.iter().map(|step| step.tier).collect();
        assert_eq!(tiers, [0, 0, 10, 10, 11]);
        assert_eq!(step(&plan, "web").after, [2]);
        assert!(plan.steps.iter().all(|step| step.refused.is_none()));
    }

    #[test]
    fn what_cannot_be_followed_is_an_error_of_that_container_alone() {
        let plan = plan(&[
            wish("a", 0, &["nobody"]),
            wish("b", 0, &["other"]),
            wish("c", 0, &["a"]),
            wish("d", 0, &["broken"]),
            wish("good", 9, &[]),
        ]);
        let refusal = |text: &str| step(&plan, text).refused.as_ref().map(ToString::to_string);
        assert_eq!(refusal("a").unwrap(), "it is to start after `nobody`, which does not exist");
        assert_eq!(refusal("b").unwrap(), "it is to start after `other`, which does not start with the host");
        assert_eq!((refusal("c"), refusal("d"), refusal("good")), (None, None, None));
        assert_eq!(step(&plan, "d").broken, Some(name("broken")));
    }

    #[test]
    fn circles_are_shown_and_those_behind_them_are_in_none() {
        let plan = plan(&[
            wish("a", 0, &["b"]),
            wish("b", 0, &["c", "good"]),
            wish("c", 0, &["a"]),
            wish("self", 0, &["self"]),
            wish("behind", 0, &["a"]),
            wish("good", 0, &[]),
        ]);
        assert_eq!(names(&plan), ["good", "a", "b", "behind", "c", "self"]);
        let refusal = |text: &str| step(&plan, text).refused.as_ref().map(ToString::to_string);
        assert_eq!(refusal("a").unwrap(), "it is to start after itself: `a` after `b` after `c` after `a`");
        assert_eq!(refusal("self").unwrap(), "it is to start after itself: `self` after `self`");
        assert_eq!((refusal("good"), refusal("behind")), (None, None));
        assert_eq!(step(&plan, "behind").after, [1]);
    }

    #[test]
    fn the_way_back_begins_with_those_that_no_order_holds() {
        let plan = plan(&[wish("web", 0, &["db"]), wish("db", 10, &[]), wish("a", 0, &[])]);
        let back = plan.reversed([name("hand")]);
        assert_eq!(names(&back), ["hand", "web", "db", "a"]);
        assert_eq!(step(&back, "db").after, [1]);
        let tiers: Vec<i64> = back.steps.iter().map(|step| step.tier).collect();
        assert_eq!(tiers, [i64::MIN, -10, -10, 0]);
    }

    /// Up to 12 containers with any orders, each after any others.
    fn any_wishes() -> impl Strategy<Value = Vec<Wish>> {
        let one = (-3_i64..3, proptest::collection::vec(0_usize..14, 0..3));
        proptest::collection::vec(one, 0..12).prop_map(|all| {
            let wish = |(index, (order, after)): (usize, (i64, Vec<usize>))| Wish {
                name: name(&format!("c{index}")),
                order,
                delay: Duration::ZERO,
                after: after.into_iter().map(|other| name(&format!("c{other}"))).collect(),
            };
            all.into_iter().enumerate().map(wish).collect()
        })
    }

    proptest! {
        #[test]
        fn every_container_has_one_step_and_none_comes_before_what_it_is_after(wishes in any_wishes()) {
            let plan = Plan::new(wishes.clone(), &BTreeSet::new(), &BTreeSet::new());
            prop_assert_eq!(plan.steps.len(), wishes.len());
            // Those that can start: neither refused nor, over however many others, after one that is.
            let mut good = vec![true; plan.steps.len()];
            for _ in 0..plan.steps.len() {
                for (index, step) in plan.steps.iter().enumerate() {
                    good[index] &= step.refused.is_none() && step.after.iter().all(|before| good[*before]);
                }
            }
            for (index, step) in plan.steps.iter().enumerate() {
                let wish = wishes.iter().find(|wish| wish.name == step.name).unwrap();
                prop_assert!(step.tier >= wish.order || !good[index]);
                prop_assert!(index == 0 || plan.steps[index - 1].tier <= step.tier);
                for before in step.after.iter().filter(|_| good[index]) {
                    prop_assert!(*before < index && plan.steps[*before].tier <= step.tier);
                }
            }
            let back = plan.reversed([]);
            prop_assert_eq!(back.steps.len(), wishes.len());
            for (index, step) in back.steps.iter().enumerate() {
                prop_assert!(step.after.iter().all(|before| *before < index));
                prop_assert!(index == 0 || back.steps[index - 1].tier <= step.tier);
            }
        }
    }
}
