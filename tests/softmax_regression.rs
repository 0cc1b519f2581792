//! Softmax regression on all digits by full-batch gradient descent: nothing in it is random, so its numbers are exact.

mod training;

use ndarray::{Axis, concatenate};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets, digits};
use steepest::run::{Inspector, Moments, noise};
use training::{config, on_cpu, only};

/// Step, loss, gradient norm, tr Σ over the population and tr Σ/‖G‖², from an independent computation in f64.
const PRINTED: [(usize, [&str; 4]); 4] = [
    (0, ["2.302585", "0.444403", "14.215285", "71.9782"]),
    (10, ["1.536579", "0.333107", "10.799896", "97.3311"]),
    (100, ["0.407966", "0.069749", "2.571074", "528.487"]),
    (1000, ["0.125865", "0.010729", "0.781432", "6789.03"]),
];

fn all_digits() -> Splits {
    let splits = digits().unwrap();
    let parts = [&splits.train, splits.test.as_ref().unwrap()];
    let x = concatenate(Axis(0), &parts.map(|part| part.x().view())).unwrap();
    let labels = parts.iter().flat_map(|part| match part.targets() {
        Targets::Classes { labels, .. } => labels.clone(),
        Targets::Values { .. } => unreachable!("digits are classes"),
    });
    let targets = Targets::Classes { labels: labels.collect(), classes: 10 };
    only(Dataset::new("all digits", x, targets).unwrap())
}

fn descent(more: &str) -> Config {
    config(&format!(
        "model.layers = [{{ kind = 'linear', out = 10 }}]\nmodel.init = 'zeros'\nmodel.bias_init = 'zeros'\n\
         [train]\nbatch = 'full'\noptimizer = 'sgd'\nlr = 0.5\nprecision = 'f64'\n{more}"
    ))
}

/// Loss, gradient norm, S and |G|² of 1001 steps.
fn run(more: &str) -> Vec<[f64; 4]> {
    let mut trainer = on_cpu::<f64>(&descent(more), all_digits(), 2);
    trainer.within(|trainer| {
        let step = |_| {
            let values = &trainer.step().unwrap().values;
            ["loss", "grad_norm", "noise_trace", "noise_signal"].map(|id| values.scalar(id))
        };
        (0..1001).map(step).collect()
    })
}

#[test]
fn the_numbers_are_those_of_the_reference() {
    let whole = run("micro_batch = 1797");
    for (step, printed) in PRINTED {
        let [loss, norm, trace, signal] = whole[step];
        // The estimate is that of a sample; the batch is all 1797 examples.
        let trace = trace * 1796.0 / 1797.0;
        let numbers = [loss, norm, trace, trace / signal];
        let digits = printed.map(|text| text.len() - text.find('.').unwrap() - 1);
        let found = [0, 1, 2, 3].map(|i| format!("{:.*}", digits[i], numbers[i]));
        assert_eq!(found, printed, "step {step}");
    }
    for micro in [256, 600] {
        let accumulated = run(&format!("micro_batch = {micro}"));
        for (step, (found, expected)) in accumulated.iter().zip(&whole).enumerate() {
            for (found, expected) in found.iter().zip(expected) {
                let error = (found / expected - 1.0).abs();
                assert!(error < 1e-11, "micro-batches of {micro}, step {step}: {found}, {expected} at once");
            }
        }
    }
}

/// Step, tr Σ and tr Σ/‖G‖² of the population, with the digits of the same computation.
const NOISE: [(usize, &str, &str); 4] = [
    (0, "14.215285", "71.9782"),
    (10, "10.799896", "97.3311"),
    (100, "2.571074", "528.487"),
    (1000, "0.781432", "6789.03"),
];

#[test]
fn the_noise_is_that_of_the_reference() {
    let config = descent("micro_batch = 1797");
    let mut trainer = on_cpu::<f64>(&config, all_digits(), 2);
    let mut done = 0;
    for (step, trace, scale) in NOISE {
        let params = trainer.within(|trainer| {
            for _ in done..step {
                trainer.step().unwrap();
            }
            trainer.params().unwrap()
        });
        done = step;
        let mut inspector = Inspector::of(&config, all_digits().train, params, None).unwrap();
        let moments = Moments::of(&mut inspector, 0..1797).unwrap();
        let whole = noise(&mut inspector, &moments).unwrap().whole;
        let decimals = scale.len() - scale.find('.').unwrap() - 1;
        let found = [format!("{:.6}", whole.trace), format!("{:.decimals$}", whole.noise_scale.unwrap())];
        assert_eq!(found, [trace, scale], "step {step}");
        assert!((whole.signal / whole.grad_norm_squared - 1.0).abs() < 1e-15, "all rows are the population");
    }
}
