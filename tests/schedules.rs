//! Schedules against `torch.optim.lr_scheduler` (goldens/schedules.py).

use steepest::config::{self, Piece, Span};
use steepest::optim::Schedule;

fn schedule(pieces: Vec<Piece>, steps_per_epoch: u64, steps: Option<u64>) -> steepest::base::Result<Schedule> {
    Schedule::new(&config::Schedule { pieces }, steps_per_epoch, steps)
}

#[test]
fn rates_are_those_of_pytorch() {
    let goldens: serde_json::Value = serde_json::from_str(include_str!("goldens/schedules.json")).unwrap();
    let warmup = |steps, from| Piece::Warmup { steps: Some(steps), epochs: None, from };
    let cosine = |steps, min| Piece::Cosine { steps, epochs: None, min };
    let exponential = |factor| Piece::Exponential { factor, every: Span::Steps(1) };
    let cases = [
        ("step", vec![Piece::Step { every: Span::Steps(7), factor: 0.3 }]),
        ("exponential", vec![exponential(0.95)]),
        ("cosine", vec![cosine(None, 0.1)]),
        ("warmup", vec![Piece::Constant, warmup(12, 0.1)]),
        ("warmup_cosine", vec![warmup(12, 0.1), cosine(Some(40), 0.0)]),
        (
            "warmup_step_exponential",
            vec![warmup(5, 0.25), Piece::Step { every: Span::Steps(10), factor: 0.5 }, exponential(0.99)],
        ),
    ];
    for (name, pieces) in cases {
        let schedule = schedule(pieces, 1, Some(40)).unwrap();
        let expected: Vec<f64> = goldens[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(expected.len(), 40);
        for (step, expected) in expected.into_iter().enumerate() {
            let found = schedule.factor(step as u64);
            // PyTorch multiplies its rate from step to step, and its rounding errors grow with them.
            assert!((found - expected).abs() <= 1e-13, "{name}, step {step}: {found}, PyTorch has {expected}");
        }
    }
}

#[test]
fn lengths_in_epochs_are_counted_in_steps() {
    let epochs = |count| Piece::Step { every: Span::Epochs(count), factor: 0.5 };
    let halved = schedule(vec![epochs(2)], 10, None).unwrap();
    assert_eq!([0, 19, 20, 39, 40].map(|step| halved.factor(step)), [1.0, 1.0, 0.5, 0.5, 0.25]);
    let smooth = schedule(vec![Piece::Exponential { factor: 0.25, every: Span::Epochs(1) }], 10, None).unwrap();
    assert!((smooth.factor(5) - 0.5).abs() < 1e-15);
}

#[test]
fn curves_stay_where_they_end() {
    let cosine = schedule(vec![Piece::Cosine { steps: Some(4), epochs: None, min: 0.5 }], 1, None).unwrap();
    assert_eq!([0, 2, 4, 100].map(|step| cosine.factor(step)), [1.0, 0.75, 0.5, 0.5]);
    let warmup = schedule(vec![Piece::Warmup { steps: None, epochs: Some(2), from: 0.0 }], 2, None).unwrap();
    assert_eq!([0, 1, 4, 100].map(|step| warmup.factor(step)), [0.0, 0.25, 1.0, 1.0]);
    assert_eq!(schedule(vec![Piece::Constant], 1, None).unwrap().factor(7), 1.0);
}

#[test]
fn a_length_that_is_not_known_is_an_error() {
    let cosine = Piece::Cosine { steps: None, epochs: None, min: 0.0 };
    let error = schedule(vec![Piece::Constant, cosine], 1, None).unwrap_err().to_string();
    assert!(error.starts_with("train.schedule[1] (cosine): its length"), "{error}");
    assert!(schedule(vec![Piece::Step { every: Span::Epochs(1), factor: 0.5 }], 0, None).is_err());
}
