//! What is held against a platform, and what is not.

use super::{super::log::End, *};

const SECOND: u64 = 1_000_000;

fn one(sent: u64, ended: u64, outcome: Outcome) -> Vec<Line> {
    let service = "shop".to_owned();
    vec![
        Line::Sent { id: 1, service, due: sent * SECOND, at: sent * SECOND },
        Line::Ended { id: 1, at: ended * SECOND, outcome },
        Line::Closed,
    ]
}

fn asked(number: u64, at: u64, change: Change) -> Event {
    Event::Asked { number, service: "shop".into(), change, at: at * SECOND }
}

fn ended(number: u64, at: u64, end: End) -> Event {
    Event::Ended { number, end, words: String::new(), at: at * SECOND }
}

fn good(version: &str) -> Change {
    Change::Good { version: version.into() }
}

fn answered(version: &str) -> Outcome {
    Outcome::Answered { version: version.into(), process: 1 }
}

#[test]
fn a_version_answers_from_when_it_was_asked_for_until_another_has_taken_its_place() {
    let back = Change::Back { version: "v1".into() };
    let bad = Change::Bad { version: "v9".into(), how: "crashes".into() };
    let events = [
        asked(1, 0, good("v1")),
        ended(1, 1, End::Succeeded),
        asked(2, 10, good("v2")),
        ended(2, 12, End::Succeeded),
        asked(3, 20, good("v3")),
        ended(3, 25, End::Failed),
        asked(4, 30, back),
        ended(4, 31, End::Succeeded),
        asked(5, 40, bad),
        ended(5, 41, End::Failed),
    ];
    for (version, sent, at, wrong) in [
        ("v1", 5, 6, 0),
        ("v1", 11, 13, 0),
        ("v1", 13, 14, 1),
        ("v2", 8, 9, 1),
        ("v2", 9, 11, 0),
        ("v2", 26, 27, 0),
        ("v3", 21, 22, 0),
        ("v3", 26, 27, 1),
        ("v1", 30, 32, 0),
        ("v2", 32, 33, 1),
        ("v1", 35, 36, 0),
        ("v9", 40, 40, 1),
        ("v7", 40, 40, 1),
    ] {
        let (verdict, complaints) = judge(one(sent, at, answered(version)), &events);
        assert_eq!(verdict.wrong, wrong, "{version} from {sent} to {at}: {complaints:?}");
    }
    let (verdict, _) = judge(Vec::new(), &events);
    assert_eq!(verdict.deployments, 5);
}

#[test]
fn a_loss_is_explained_by_what_was_done_to_it_and_by_nothing_else() {
    let stopped = |service: &str| Event::InstanceStopped {
        service: service.into(),
        process: 1,
        at: 10 * SECOND,
    };
    let killed = Event::InstanceKilled { service: "shop".into(), process: 1, at: 10 * SECOND };
    let platform = Event::PlatformKilled { from: 10 * SECOND, gone: 10 * SECOND + 1_000 };
    let orderly = Event::PlatformEnded { from: 9 * SECOND, gone: 12 * SECOND };
    let broken = || Outcome::Broken("closed".into());
    let refused = |reason: &str| Outcome::Refused { status: 502, reason: reason.into() };
    for (what, event, sent, at, outcome, explained) in [
        ("under way as it was killed", &platform, 9, 10, broken(), true),
        ("before that", &platform, 8, 9, broken(), false),
        ("after that", &platform, 11, 12, broken(), false),
        ("it was refused", &platform, 9, 11, refused("at_maximum"), false),
        ("an orderly end", &orderly, 9, 10, broken(), false),
        ("nobody listened", &platform, 9, 11, Outcome::Unconnected("no".into()), false),
        ("given to one that was killed", &killed, 10, 11, refused("closed_early"), true),
        ("a body that broke off", &killed, 9, 11, broken(), true),
        ("it was not connected", &killed, 10, 11, refused("connect_failed"), false),
        ("that was known", &killed, 11, 12, refused("closed_early"), false),
        ("given to one that stands", &stopped("shop"), 11, 21, refused("total_timed_out"), true),
        ("that was known too", &stopped("shop"), 13, 23, refused("total_timed_out"), false),
        ("of another service", &stopped("api"), 10, 20, refused("total_timed_out"), false),
    ] {
        let (verdict, complaints) = judge(one(sent, at, outcome), std::slice::from_ref(event));
        let seen = (verdict.lost_explained, verdict.lost_unexplained);
        assert_eq!(seen, if explained { (1, 0) } else { (0, 1) }, "{what}: {complaints:?}");
    }
}

#[test]
fn one_may_be_refused_only_while_somebody_had_paused_the_service() {
    let events = [
        asked(1, 10, Change::Pause),
        asked(2, 20, Change::Resume),
        Event::Accepted { number: 2, at: 21 * SECOND },
        ended(2, 25, End::Succeeded),
    ];
    let refused = |reason: &str| Outcome::Refused { status: 503, reason: reason.into() };
    for (sent, at, reason, lost) in [
        (8, 9, "paused", 1),
        (9, 10, "paused", 0),
        (15, 15, "paused", 0),
        (15, 15, "draining", 1),
        (21, 22, "paused", 0),
        (22, 22, "paused", 1),
    ] {
        let (verdict, _) = judge(one(sent, at, refused(reason)), &events);
        assert_eq!(verdict.lost_unexplained, lost, "{reason} from {sent} to {at}");
        assert_eq!(verdict.lost_explained, 0);
    }
}

#[test]
fn a_pause_that_did_not_come_to_be_excuses_nothing_any_more() {
    let refused = || Outcome::Refused { status: 503, reason: "paused".into() };
    for end in [End::NeverBegan, End::Failed] {
        let events = [asked(1, 10, Change::Pause), ended(1, 12, end)];
        for (sent, lost) in [(11, 0), (13, 1)] {
            let (verdict, _) = judge(one(sent, sent, refused()), &events);
            assert_eq!(verdict.lost_unexplained, lost, "{end:?} at {sent}");
        }
    }
}

#[test]
fn what_never_began_is_no_deployment() {
    let events = [
        asked(1, 0, good("v1")),
        ended(1, 1, End::Succeeded),
        asked(2, 10, good("v2")),
        ended(2, 12, End::NeverBegan),
        asked(3, 20, good("v3")),
    ];
    assert_eq!(judge(Vec::new(), &events).0.deployments, 2);
}

#[test]
fn a_machine_that_is_late_learns_of_a_stall_later() {
    let stopped = Event::InstanceStopped { service: "shop".into(), process: 1, at: 10 * SECOND };
    let timed_out = || Outcome::Refused { status: 504, reason: "total_timed_out".into() };
    for (late, lost) in [(0, 1), (300_000, 0)] {
        let mut lines = one(13, 23, timed_out());
        // Another one, of about that time.
        let (service, at) = ("shop".to_owned(), 11 * SECOND);
        lines.push(Line::Sent { id: 2, service, due: at - late, at });
        lines.push(Line::Ended { id: 2, at: at + 1, outcome: answered("v1") });
        let (verdict, _) = judge(lines, std::slice::from_ref(&stopped));
        assert_eq!(verdict.lost_unexplained, lost, "{late} late");
    }
}

#[test]
fn what_has_no_end_is_lost_and_what_was_found_counts() {
    let mut lines = one(1, 2, answered("v1"));
    lines.remove(1);
    let events = [
        Event::Stuck { number: 3, words: "waits".into(), at: 1 },
        Event::Orphan { process: 4, words: "app".into(), at: 1 },
        Event::Wrong { words: "panicked".into(), at: 1 },
    ];
    let (verdict, complaints) = judge(lines, &events);
    let Verdict { wrong, lost_unexplained, stuck_operations, orphans, .. } = verdict;
    assert_eq!([wrong, lost_unexplained, stuck_operations, orphans], [1; 4]);
    assert_eq!(complaints.len(), 4);
    assert!(!verdict.is_good());
    assert!(Verdict { requests: 1, ..Verdict::default() }.is_good());
    assert!(!Verdict::default().is_good(), "nobody asked anything");
}
