//! The corpus of faults, in small: cases repeat and sets are apart, its table is counted right, and the program shows it.

mod place;

use place::Place;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use steepest::study::corpus::{
    Case, Class, FAULTS, Fault, Kind, Options, Progress, Rate, Report, SCORE_SHARE, SEVERITIES, Set, cases, corpus,
};
use steepest::verdict::Grade;

/// How many runs were reported as done.
#[derive(Default)]
struct Count(AtomicUsize);

impl Progress for Count {
    fn done(&self, _: usize, of: usize) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) < of);
    }
}

fn small(set: Set, workers: usize) -> Report {
    let options = Options { set, architectures: 1, seed: 5, tries: false, workers };
    let count = Count::default();
    let report = corpus(&options, &count).unwrap();
    assert_eq!(count.0.into_inner(), report.runs);
    report
}

#[test]
fn the_same_seed_gives_the_same_cases_and_another_seed_others() {
    let all = |seed: u64| cases(Set::Scored, 12, seed).unwrap();
    assert_eq!(all(1), all(1));
    assert_ne!(all(1), all(2));
    let names = all(1).iter().map(Case::name).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), all(1).len(), "no case is there twice");
}

#[test]
fn no_architecture_and_no_seed_is_in_both_sets() {
    let (tuned, scored) = (cases(Set::Tuned, 200, 1).unwrap(), cases(Set::Scored, 200, 1).unwrap());
    let of = |cases: &[Case], value: &dyn Fn(&Case) -> String| cases.iter().map(value).collect::<BTreeSet<_>>();
    let values: [&dyn Fn(&Case) -> String; 4] = [
        &|case| case.architecture.hidden.to_string(),
        &|case| case.architecture.width.to_string(),
        &|case| case.architecture.name(),
        &|case| case.config.train.seed.to_string(),
    ];
    for value in values {
        let (a, b) = (of(&tuned, value), of(&scored, value));
        assert!(!a.is_empty() && a.is_disjoint(&b), "{:?}", a.intersection(&b).next());
    }
}

#[test]
fn every_fault_is_injected_in_every_severity_it_has() {
    for set in [Set::Tuned, Set::Scored] {
        let all = cases(set, 48, 1).unwrap();
        for spec in FAULTS {
            let severities: BTreeSet<usize> = all
                .iter()
                .filter_map(|case| match case.kind {
                    Kind::Faulty { fault, severity, .. } if fault == spec.fault => Some(severity),
                    _ => None,
                })
                .collect();
            assert_eq!(severities.len(), SEVERITIES, "{} in {}", spec.name, set.word());
        }
        let counted = |is_it: fn(&Kind) -> bool| all.iter().filter(|case| is_it(&case.kind)).count();
        assert!(counted(|kind| !matches!(kind, Kind::Faulty { .. })) >= 200, "healthy and long runs");
        assert!(all.len() >= 700, "{} runs", all.len());
    }
}

#[test]
fn a_fault_changes_its_own_config_and_nothing_else() {
    let all = cases(Set::Scored, 24, 1).unwrap();
    for case in &all {
        let Kind::Faulty { fault, .. } = case.kind else { continue };
        let control = &all[case.control];
        assert_eq!((&control.kind, control.steps), (&Kind::Control, case.steps));
        let keys: Vec<String> =
            case.config.differences(&control.config).into_iter().map(|difference| difference.key).collect();
        let may = |key: &str| match fault {
            Fault::LrTooHigh | Fault::LrTooLow | Fault::Underflow => key == "train.lr",
            Fault::NoisyBatch => matches!(key, "train.lr" | "train.batch"),
            Fault::WrongLoss => key.starts_with("loss."),
            _ => key.starts_with("model."),
        };
        let is_in_data = matches!(
            fault,
            Fault::InputScale | Fault::InputShift | Fault::InputSpread | Fault::TargetScale | Fault::TargetShift
        );
        assert!(keys.iter().all(|key| may(key)) && keys.is_empty() == is_in_data, "{}: {keys:?}", case.name());
    }
}

#[test]
fn a_small_corpus_repeats_and_is_counted_right() {
    let report = small(Set::Tuned, 2);
    // As text, in which values that are not finite are equal.
    let text = |report: &Report| serde_json::to_string(report).unwrap();
    assert!(text(&report) == text(&small(Set::Tuned, 1)), "the number of workers changes nothing");
    assert!(report.fit == 1 && report.rows.len() == report.runs);
    for row in &report.rows {
        let is_below = row.score < SCORE_SHARE * row.control_score;
        match (&row.kind, row.class) {
            (Kind::Faulty { .. }, Class::Faulty) => assert!(is_below, "{}", row.name),
            (Kind::Faulty { .. }, class) => assert!(class == Class::Harmless && !is_below, "{}", row.name),
            (_, class) => assert!(matches!(class, Class::Healthy | Class::Converged | Class::Unfit), "{}", row.name),
        }
    }
    let faulty: Vec<_> = report.rows.iter().filter(|row| row.class == Class::Faulty).collect();
    let found = faulty.iter().filter(|row| row.is_found).count();
    assert_eq!(report.all().found, Rate::new(found, faulty.len()));
    assert!(faulty.len() >= 5 && found * 10 >= faulty.len() * 8, "{found} of {}", faulty.len());
    let well = |class: Class| matches!(class, Class::Healthy | Class::Converged);
    let alarms = report.rows.iter().filter(|row| well(row.class));
    let alarms = alarms.filter(|row| row.verdicts.iter().any(|said| said.grade == Grade::Fault)).count();
    assert_eq!((report.controls[2].alarms.hits, alarms), (0, 0));
}

/// Newcombe 1998 (Statistics in Medicine 17), method 3: 81 of 263, 15 of 148, 0 of 20 and 1 of 29.
#[test]
fn intervals_are_the_published_ones() {
    for (hits, of, known) in
        [(81, 263, [0.2553, 0.3662]), (15, 148, [0.0624, 0.1605]), (0, 20, [0.0, 0.1611]), (1, 29, [0.0061, 0.1718])]
    {
        let found = Rate::new(hits, of).interval.unwrap();
        assert!(found.iter().zip(known).all(|(a, b)| (a - b).abs() < 1e-4), "{hits} of {of}: {found:?}");
    }
    assert_eq!((Rate::new(0, 0).share, Rate::new(0, 0).interval), (None, None));
}

#[test]
fn the_program_shows_the_table_and_writes_every_run() {
    let place = Place::new();
    let line = "corpus --set tuned --architectures 1 --seed 5 --quiet";
    let shown = place.succeeds(&format!("{line} --out runs.json"));
    for part in ["recall on the tuned architectures", "SageMaker", "DeepDiagnosis", "alarms on runs without a fault"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let rows = fs::read_to_string(place.path().join("runs.csv")).unwrap();
    let json: Value = serde_json::from_str(&place.succeeds(&format!("{line} --json"))).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len() + 1, rows.lines().count());
    let table: Value = serde_json::from_slice(&fs::read(place.path().join("runs.json")).unwrap()).unwrap();
    assert_eq!((&json["set"], &table["table"]["faults"]), (&Value::from("tuned"), &json["faults"]));
    assert!(table["table"]["rows"].is_null() && table["environment"]["steepest"].is_string());
    place.fails(&format!("{line} --out runs.json"), 2, &["runs.json", "--out"]);
    fs::remove_file(place.path().join("runs.json")).unwrap();
    place.fails(&format!("{line} --out runs.json"), 2, &["runs.csv", "--out"]);
    place.fails(&format!("{line} --out runs.txt"), 2, &["runs.txt", ".json"]);
    place.fails("corpus --set other", 2, &["--set", "tuned"]);
}
