//! Who rests, for how long, and what counts against whom.

use super::*;

fn at(seconds: i64) -> Moment {
    Moment::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn endpoint() -> EndpointId {
    EndpointId::from_uuid(Default::default())
}

fn cooling(board: &HealthBoard, second: i64) -> bool {
    board.health(endpoint(), at(second)).cooling
}

#[test]
fn three_failures_in_a_row_rest_an_endpoint_for_longer_and_longer() {
    let mut board = HealthBoard::default();
    for second in 0..2 {
        board.note(endpoint(), Verdict::Failed, at(second));
        assert!(!cooling(&board, second));
    }
    board.note(endpoint(), Verdict::Failed, at(2));
    assert!(cooling(&board, 6) && !cooling(&board, 7));
    board.note(endpoint(), Verdict::Failed, at(7));
    assert!(cooling(&board, 16) && !cooling(&board, 17));
    for _ in 0..40 {
        board.note(endpoint(), Verdict::Failed, at(20));
    }
    assert!(cooling(&board, 319) && !cooling(&board, 320));
    board.note(endpoint(), Verdict::Answered, at(20));
    assert!(!cooling(&board, 20));
}

#[test]
fn an_answer_in_between_starts_the_count_anew() {
    let mut board = HealthBoard::default();
    for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Answered, Verdict::Failed, Verdict::Failed] {
        board.note(endpoint(), verdict, at(0));
    }
    assert!(!cooling(&board, 0));
}

#[test]
fn after_its_rest_an_endpoint_is_probed_by_one_attempt_alone() {
    let mut board = HealthBoard::default();
    for _ in 0..3 {
        board.note(endpoint(), Verdict::Failed, at(0));
    }
    board.begin(endpoint(), at(1));
    assert!(cooling(&board, 4), "an attempt during the rest is no probe");
    assert!(!cooling(&board, 5));
    board.begin(endpoint(), at(5));
    assert!(cooling(&board, 6), "others wait for the probe");
    board.note(endpoint(), Verdict::Answered, at(7));
    assert!(!cooling(&board, 7));
    // A probe that nobody reports is given up.
    for _ in 0..3 {
        board.note(endpoint(), Verdict::Failed, at(10));
    }
    board.begin(endpoint(), at(15));
    assert!(cooling(&board, 44) && !cooling(&board, 45));
    // A healthy endpoint needs no probe.
    let mut well = HealthBoard::default();
    well.note(endpoint(), Verdict::Answered, at(0));
    well.begin(endpoint(), at(0));
    assert!(!cooling(&well, 0));
}

#[test]
fn a_rate_limit_rests_as_long_as_the_provider_says_within_reason() {
    for (hint, rest) in [(None, 2), (Some(7), 7), (Some(9999), 60)] {
        let mut board = HealthBoard::default();
        let retry_after = hint.map(Duration::from_secs);
        board.note(endpoint(), Verdict::Limited { retry_after }, at(0));
        assert!(cooling(&board, rest - 1) && !cooling(&board, rest));
    }
}

#[test]
fn a_fifth_of_failures_in_half_a_minute_is_an_outage() {
    let mut board = HealthBoard::default();
    for second in 0..4 {
        board.note(endpoint(), Verdict::Answered, at(second));
    }
    assert!(!board.health(endpoint(), at(4)).unstable);
    board.note(endpoint(), Verdict::Failed, at(4));
    let health = board.health(endpoint(), at(5));
    assert!(health.unstable && !health.cooling);
    assert_eq!(health.failing_permille, 200);
    assert!(!board.health(endpoint(), at(40)).unstable, "old outcomes say nothing");
    board.note(endpoint(), Verdict::Answered, at(5));
    assert!(!board.health(endpoint(), at(5)).unstable);
}

#[test]
fn statuses_are_sorted_by_whose_fault_they_are() {
    let wait = Some(Duration::from_secs(3));
    let rows: [(&[u16], Verdict); 4] = [
        (&[200, 204], Verdict::Answered),
        (&[429], Verdict::Limited { retry_after: wait }),
        (
            &[0, 401, 402, 404, 405, 408, 410, 421, 423, 424, 426, 498, 500, 502, 503, 504, 529],
            Verdict::Failed,
        ),
        (&[400, 403, 409, 413, 422, 451, 499], Verdict::Blameless),
    ];
    for (statuses, verdict) in rows {
        for status in statuses {
            assert_eq!(Verdict::of_status(*status, wait), verdict, "{status}");
        }
    }
    let mut board = HealthBoard::default();
    for _ in 0..10 {
        board.note(endpoint(), Verdict::Blameless, at(0));
    }
    assert_eq!(board.health(endpoint(), at(0)), Health::default());
}

#[test]
fn percentiles_follow_the_latest_measurements() {
    let mut board = HealthBoard::default();
    for value in 1..=100 {
        board.measure(endpoint(), value, Some(value));
    }
    // 37 to 100 are the latest 64.
    let health = board.health(endpoint(), at(0));
    assert_eq!(health.latency, Some(Percentiles { p50: 68, p75: 84, p90: 94, p99: 100 }));
    assert_eq!(health.throughput, Some(Percentiles { p50: 69, p75: 53, p90: 43, p99: 37 }));
    assert_eq!((health.latency_ms, health.tokens_per_second), (Some(68), Some(69)));
    board.retain(|_| false);
    assert_eq!(board.health(endpoint(), at(0)), Health::default());
}
