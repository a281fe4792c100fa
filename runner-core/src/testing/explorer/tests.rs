//! The explorer against one that is too plain to be wrong, on random small graphs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::*;

/// A graph whose nodes are split over machine and world: node = machine * 4 + world.
#[derive(Debug)]
struct Graph {
    edges: Vec<Vec<(u8, Reliance)>>,
    rest: Vec<bool>,
    /// No state may be this node.
    forbidden: Option<u8>,
    /// No effect may lead to this node.
    untouchable: Option<u8>,
    /// The nodes that were checked.
    checked: AtomicU64,
}

#[derive(Clone, Debug, PartialEq)]
struct Edge(u8, Reliance);

#[derive(Debug)]
struct Arrive(u8);

impl Model for Graph {
    type Machine = u8;
    type World = u8;
    type Action = Edge;
    type Effect = Arrive;

    fn initial(&self) -> (u8, u8) {
        (0, 0)
    }

    fn actions(&self, machine: &u8, world: &u8, actions: &mut Vec<Edge>) {
        let edges = &self.edges[usize::from(machine * 4 + world)];
        actions.extend(edges.iter().map(|&(to, reliance)| Edge(to, reliance)));
    }

    fn step(&self, machine: &mut u8, _: &mut u8, action: &Edge, effects: &mut Vec<Arrive>) {
        *machine = action.0 / 4;
        effects.push(Arrive(action.0));
    }

    fn perform(&self, world: &mut u8, effect: Arrive) {
        *world = effect.0 % 4;
    }

    fn check(&self, machine: &u8, world: &u8) -> Result<(), Violation> {
        let node = machine * 4 + world;
        self.checked.fetch_or(1 << node, Ordering::Relaxed);
        Violation::unless(Some(node) != self.forbidden, "forbidden")
    }

    fn check_effect(&self, _: &u8, _: &u8, effect: &Arrive) -> Result<(), Violation> {
        Violation::unless(Some(effect.0) != self.untouchable, "untouchable")
    }
}

impl Progress for Graph {
    fn is_rest(&self, machine: &u8, world: &u8) -> bool {
        self.rest[usize::from(machine * 4 + world)]
    }

    fn reliance(&self, action: &Edge) -> Reliance {
        action.1
    }
}

impl Graph {
    /// The fewest steps to each node that can be reached.
    fn depths(&self) -> BTreeMap<u8, u32> {
        let mut depths = BTreeMap::from([(0, 0)]);
        let mut level = BTreeSet::from([0]);
        for depth in 1.. {
            let next = level.iter().flat_map(|&node| &self.edges[usize::from(node)]);
            level = next.map(|&(to, _)| to).filter(|to| !depths.contains_key(to)).collect();
            if level.is_empty() {
                break;
            }
            depths.extend(level.iter().map(|&node| (node, depth)));
        }
        depths
    }

    /// Steps to rest for each node: the fewest of edges so reliable, or the most of all of them.
    fn to_rest(&self, least: Reliance, any_order: bool) -> Vec<Option<u32>> {
        let mut far: Vec<_> = self.rest.iter().map(|&rest| rest.then_some(0)).collect();
        // As many rounds as the longest way that does not repeat a node.
        for _ in 0..self.edges.len() {
            for node in (0..self.edges.len()).filter(|&node| !self.rest[node]) {
                let ways = self.edges[node].iter().filter(|edge| edge.1 >= least);
                let mut ways = ways.map(|&(to, reliance)| {
                    let step = u32::from(reliance != Reliance::Free);
                    far[usize::from(to)].map(|steps| steps + step)
                });
                far[node] = match any_order {
                    false => ways.flatten().min(),
                    true => ways
                        .try_fold(None, |most, way| way.map(|way| most.max(Some(way))))
                        .flatten(),
                };
            }
        }
        far
    }

    fn explorer(&self, threads: usize, share: usize) -> Explorer<'_, Self> {
        let mut explorer = Explorer::new(self).threads(threads);
        explorer.share = share;
        explorer
    }
}

fn reliance() -> impl Strategy<Value = Reliance> {
    use Reliance::{Chance, Due, Free, Good};
    prop::sample::select(vec![Chance, Due, Due, Good, Good, Free])
}

/// Mostly sparse, so that depth, dead ends and parts that cannot be reached all occur.
fn graph() -> impl Strategy<Value = Graph> {
    (4..40_u8).prop_flat_map(|nodes| {
        let edges = prop::collection::vec((0..nodes, reliance()), 0..3);
        let edges = prop::collection::vec(edges, usize::from(nodes));
        let rest = prop::collection::vec(prop::bool::weighted(0.3), usize::from(nodes));
        (edges, rest).prop_map(|(edges, rest)| Graph {
            edges,
            rest,
            forbidden: None,
            untouchable: None,
            checked: AtomicU64::new(0),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_finds_the_states_of_the_plain_one(graph in graph(), threads in 1..4_usize, share in 1..4_usize) {
        let depths = graph.depths();
        let report = graph.explorer(threads, share).explore().expect("nothing is forbidden");
        let nodes = depths.keys().fold(0, |nodes, node| nodes | 1_u64 << node);
        prop_assert_eq!(graph.checked.load(Ordering::Relaxed), nodes);
        prop_assert_eq!(report.distinct, depths.len() as u64);
        prop_assert_eq!(Some(report.depth), depths.values().max().copied());
        let steps: usize = depths.keys().map(|&node| graph.edges[usize::from(node)].len()).sum();
        prop_assert_eq!(report.computed, steps as u64);
    }

    #[test]
    fn its_paths_are_as_short_as_the_plain_ones(
        mut graph in graph(), node in 1..4_u8, threads in 1..4_usize, share in 1..4_usize,
    ) {
        let depth = graph.depths().get(&node).copied();
        graph.forbidden = Some(node);
        let found = graph.explorer(threads, share).explore();
        let cause = found.as_ref().err().map(|failure| failure.cause().clone());
        prop_assert_eq!(cause, depth.map(|_| Cause::State("forbidden".into())));
        let length = |found: Result<Report, Failure<Graph>>| {
            found.err().and_then(|failure| Some(failure.path()?.steps.len() as u32))
        };
        prop_assert_eq!(length(found), depth);

        graph.forbidden = None;
        graph.untouchable = Some(node);
        let found = graph.explorer(threads, share).explore();
        prop_assert_eq!(length(found), depth);
    }

    #[test]
    fn its_verdict_on_liveness_is_the_plain_one(
        graph in graph(), within in 0..6_u32, threads in 1..4_usize, share in 1..4_usize,
    ) {
        let depths = graph.depths();
        let asked = [
            (Rest::Reachable, Reliance::Due, u32::MAX - 1),
            (Rest::Within(within), Reliance::Good, within),
            (Rest::AlwaysWithin(within), Reliance::Good, within),
        ];
        for (rest, least, most) in asked {
            let far = graph.to_rest(least, rest.in_any_order());
            let short = depths.iter().filter(|&(&node, _)| {
                far[usize::from(node)].is_none_or(|steps| steps > most)
            });
            let expect = short.map(|(_, &depth)| depth).min();
            let found = graph.explorer(threads, share).liveness(rest).explore();
            match found {
                Ok(report) => {
                    prop_assert_eq!(expect, None, "{:?}", rest);
                    let worst = depths.keys().filter_map(|&node| far[usize::from(node)]).max();
                    prop_assert_eq!(report.farthest_from_rest, worst);
                }
                Err(failure) => {
                    prop_assert!(failure.cause().is_about_rest(), "{}", failure);
                    let path = failure.path().expect("there is a state to blame");
                    prop_assert_eq!(Some(path.steps.len() as u32), expect, "{:?} {}", rest, failure);
                    let (machine, world) = path.end();
                    let steps = far[usize::from(machine * 4 + world)];
                    prop_assert!(steps.is_none_or(|steps| steps > most), "{:?} {}", rest, failure);
                }
            }
        }
    }

    #[test]
    fn it_finds_the_nearest_deadlock_and_knows_it_from_rest(
        graph in graph(), threads in 1..4_usize, share in 1..4_usize,
    ) {
        let depths = graph.depths();
        let nearest = |fine: &dyn Fn(usize) -> bool| {
            let dead = depths.iter().filter(|&(&node, _)| {
                graph.edges[usize::from(node)].is_empty() && !fine(usize::from(node))
            });
            dead.map(|(_, &depth)| depth).min()
        };
        let explorer = || graph.explorer(threads, share).forbid_deadlock();
        let length = |found: Result<Report, Failure<Graph>>| {
            let failure = found.err().filter(|failure| *failure.cause() == Cause::Deadlock)?;
            Some(failure.path()?.steps.len() as u32)
        };
        prop_assert_eq!(length(explorer().explore()), nearest(&|_| false));
        let alive = explorer().liveness(Rest::Reachable).explore();
        prop_assert_eq!(length(alive), nearest(&|node| graph.rest[node]));
    }

    #[test]
    fn no_number_of_threads_changes_anything(
        mut graph in graph(), node in 1..80_u8, share in 1..4_usize, bound in 1..20_u32, deep: bool,
    ) {
        graph.forbidden = Some(node);
        let told = |threads| {
            let explorer = graph.explorer(threads, share).liveness(Rest::Within(3)).forbid_deadlock();
            let explorer = match deep {
                true => explorer.max_depth(bound / 4),
                false => explorer.max_states(bound * 2),
            };
            let strict = explorer.explore();
            let fits = explorer.what_fits().explore();
            format!("{strict:?} {fits:?}")
        };
        let alone = told(1);
        prop_assert_eq!(&told(2), &alone);
        prop_assert_eq!(&told(3), &alone);
    }

    #[test]
    fn a_bound_cuts_off_when_there_is_more_and_not_when_it_just_fits(graph in graph(), share in 1..4_usize) {
        let depths = graph.depths();
        let (states, depth) = (depths.len() as u32, depths.values().max().copied().unwrap_or(0));
        let explorer = || graph.explorer(1, share);
        prop_assert!(explorer().max_states(states).max_depth(depth).explore().is_ok());
        if depth > 0 {
            let shallow = explorer().max_depth(depth - 1);
            let failure = shallow.explore().expect_err("there is a deeper state");
            prop_assert_eq!(failure.cause(), &Cause::CutOff(Bound::Depth(depth - 1)));
            let report = shallow.what_fits().explore().expect("it fits as far as it goes");
            let nearer = depths.values().filter(|&&steps| steps < depth).count();
            prop_assert_eq!(report.distinct, nearer as u64);
            prop_assert_eq!(report.depth, depth - 1);
        }
        if states > 1 {
            let few = explorer().max_states(states - 1);
            let failure = few.explore().expect_err("there is one more state");
            prop_assert_eq!(failure.cause(), &Cause::CutOff(Bound::States(states - 1)));
            let report = few.what_fits().liveness(Rest::Reachable).explore().expect("it fits");
            prop_assert_eq!(report.distinct, u64::from(states - 1));
            prop_assert_eq!(report.cut_off, Some(Bound::States(states - 1)));
            prop_assert_eq!(report.farthest_from_rest, None, "nothing is known beyond the bound");
        }
    }
}

/// Counts up, and panics, forgets or overflows where it is told to.
struct Counter {
    panics_at: Option<u32>,
    /// How often the model was asked for its actions, where that changes its answers.
    moody: Option<AtomicU64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Count {
    Up,
    #[expect(dead_code, reason = "the kind that never occurs")]
    Down,
}

impl Model for Counter {
    type Machine = u32;
    type World = ();
    type Action = Count;
    type Effect = ();

    fn initial(&self) -> (u32, ()) {
        (0, ())
    }

    fn actions(&self, machine: &u32, (): &(), actions: &mut Vec<Count>) {
        let asked = |moody: &AtomicU64| moody.fetch_add(1, Ordering::Relaxed);
        let willing = self.moody.as_ref().is_none_or(|moody| asked(moody) < 4);
        if *machine < 9 && willing {
            actions.push(Count::Up);
        }
    }

    fn step(&self, machine: &mut u32, (): &mut (), _: &Count, effects: &mut Vec<()>) {
        assert!(Some(*machine) != self.panics_at, "stuck at {machine}");
        *machine += 1;
        effects.push(());
    }

    fn perform(&self, (): &mut (), (): ()) {}

    fn check(&self, machine: &u32, (): &()) -> Result<(), Violation> {
        let moody = self.moody.is_some();
        Violation::unless(!moody || *machine < 3, "it stays below three")
    }
}

#[test]
fn a_panic_is_shown_with_the_way_to_it() {
    let counter = Counter { panics_at: Some(2), moody: None };
    let searched = Explorer::new(&counter).explore().expect_err("it panics");
    let walked = Walker::new(&counter).walk().expect_err("it panics");
    for failure in [searched, walked] {
        assert_eq!(failure.cause(), &Cause::Panic("stuck at 2".to_owned()));
        let path = failure.path().expect("there is a step to blame");
        assert_eq!(path.steps.len(), 3);
        assert_eq!(path.end(), (2, ()), "the last step was not completed");
    }
}

#[test]
#[should_panic(expected = "the model must offer the same actions each time")]
fn a_model_that_changes_its_mind_is_told_so() {
    let counter = Counter { panics_at: None, moody: Some(AtomicU64::new(0)) };
    let _ = Explorer::new(&counter).explore();
}

#[test]
fn every_kind_is_counted_and_one_that_is_missing_fails() {
    let counter = Counter { panics_at: None, moody: None };
    let report = Explorer::new(&counter).explore().expect("it counts to nine");
    assert_eq!(report.actions, BTreeMap::from([("Up".to_owned(), 9)]));
    assert_eq!(report.effects.values().sum::<u64>(), 9);
    let failure = Explorer::new(&counter).must_occur(["Up", "Down"]).explore();
    let cause = failure.expect_err("it never counts down").cause().clone();
    assert_eq!(cause, Cause::NeverOccurred(vec!["Down".to_owned()]));
}

/// A graph of which some edges are faults, of which there may be so many on a path.
#[derive(Debug)]
struct Faulty {
    /// Where to, whether it is a fault, and how far it is relied on.
    edges: Vec<Vec<(u8, bool, Reliance)>>,
    rest: Vec<bool>,
    forbidden: u8,
    faults: u8,
    /// Whether the faults that are left are told as an allowance, or are part of the state.
    told: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Hop(u8, bool, Reliance);

impl Model for Faulty {
    type Machine = u8;
    type World = u8;
    type Action = Hop;
    type Effect = ();

    fn initial(&self) -> (u8, u8) {
        (0, self.faults)
    }

    fn actions(&self, node: &u8, left: &u8, actions: &mut Vec<Hop>) {
        let edges = self.edges[usize::from(*node)].iter();
        let open = edges.filter(|&&(_, fault, _)| !fault || *left > 0);
        actions.extend(open.map(|&(to, fault, reliance)| Hop(to, fault, reliance)));
    }

    fn step(&self, node: &mut u8, left: &mut u8, hop: &Hop, _: &mut Vec<()>) {
        *node = hop.0;
        *left -= u8::from(hop.1);
    }

    fn perform(&self, _: &mut u8, (): ()) {}

    fn check(&self, node: &u8, _: &u8) -> Result<(), Violation> {
        Violation::unless(*node != self.forbidden, "forbidden")
    }

    fn essence(&self, node: &u8, left: &u8, fingerprint: &mut Fingerprinter) {
        use std::hash::Hash;
        node.hash(fingerprint);
        if !self.told {
            left.hash(fingerprint);
        }
    }

    fn allowance(&self, _: &u8, left: &u8) -> Allowance {
        if self.told { Allowance::of([*left]) } else { Allowance::default() }
    }
}

impl Progress for Faulty {
    fn is_rest(&self, node: &u8, _: &u8) -> bool {
        self.rest[usize::from(*node)]
    }

    fn reliance(&self, hop: &Hop) -> Reliance {
        hop.2
    }
}

/// Where and how far away it failed, and how far rest is where it did not.
fn verdict(found: &Result<Report, Failure<Faulty>>) -> (Option<(Cause, usize)>, Option<u32>) {
    let failed = found.as_ref().err().map(|failure| {
        let steps = failure.path().map_or(0, |path| path.steps.len());
        (failure.cause().clone(), steps)
    });
    (failed, found.as_ref().ok().and_then(|report| report.farthest_from_rest))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_state_that_stands_for_others_hides_nothing_of_them(
        (edges, rest) in (4..20_u8).prop_flat_map(|nodes| {
            // A fault is nothing that one hopes for.
            let edge = (0..nodes, any::<bool>(), reliance()).prop_map(|(to, fault, reliance)| {
                (to, fault, if fault { reliance.min(Reliance::Due) } else { reliance })
            });
            let edges = prop::collection::vec(prop::collection::vec(edge, 0..4), usize::from(nodes));
            (edges, prop::collection::vec(prop::bool::weighted(0.3), usize::from(nodes)))
        }),
        forbidden in 1..40_u8,
        faults in 0..3_u8,
        within in 0..6_u32,
        share in 1..4_usize,
    ) {
        let mut graph = Faulty { edges, rest, forbidden, faults, told: false };
        let explore = |graph: &Faulty| {
            let mut explorer = Explorer::new(graph).liveness(Rest::Within(within)).threads(2);
            explorer.share = share;
            explorer.explore()
        };
        let plain = explore(&graph);
        graph.told = true;
        let told = explore(&graph);
        prop_assert_eq!(verdict(&told), verdict(&plain));
        if let (Ok(told), Ok(plain)) = (told, plain) {
            prop_assert!(told.distinct <= plain.distinct);
        }
    }
}
