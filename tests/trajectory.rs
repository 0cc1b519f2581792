//! Whole trainings against PyTorch (goldens/trajectories.py): 20 steps of three networks with every optimizer.

mod training;

use safetensors::SafeTensors;
use steepest::base::Shape;
use steepest::config::Config;
use steepest::data::digits;
use steepest::exec::GpuOptions;
use steepest::run::{HostTensor, Trainer};
use training::{config, distance, flat, losses, on_cpu, on_gpu_with};

const STEPS: usize = 20;

const NETWORKS: [(&str, &str); 3] =
    [("relu", "'relu'"), ("tanh", "'tanh'"), ("norm", "{ kind = 'layer_norm' }, { kind = 'gelu' }")];

/// The rates are those of the script; everything else is the default of both.
const OPTIMIZERS: [(&str, &str); 7] = [
    ("sgd", "lr = 0.2"),
    ("momentum", "lr = 0.05"),
    ("nesterov", "lr = 0.05"),
    ("adagrad", "lr = 0.05"),
    ("rmsprop", "lr = 0.005"),
    ("adam", "lr = 0.01"),
    ("adamw", "lr = 0.01\nweight_decay = 0.1"),
];

/// What PyTorch computed for one network and optimizer.
struct Golden {
    case: String,
    config: Config,
    start: Vec<HostTensor>,
    losses: Vec<f64>,
    params: Vec<f64>,
    /// How far its own f32 is off, in losses and parameters.
    single: [f64; 2],
}

fn goldens() -> Vec<Golden> {
    let file = SafeTensors::deserialize(include_bytes!("goldens/trajectories.safetensors")).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        view.data().chunks_exact(8).map(|word| f64::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let start = |network: &str| -> Vec<HostTensor> {
        let prefix = format!("{network}/start/");
        let own = file.iter().filter_map(|(name, view)| Some((name, name.strip_prefix(&prefix)?, view)));
        let tensor = |(full, name, view): (&str, &str, safetensors::tensor::TensorView<'_>)| HostTensor {
            name: name.to_owned(),
            shape: Shape::new(view.shape()),
            values: numbers(full),
        };
        own.map(tensor).collect()
    };
    let pairs = NETWORKS.iter().flat_map(|network| OPTIMIZERS.iter().map(move |optimizer| (network, optimizer)));
    let golden = |((network, layers), (optimizer, rates)): (&(&str, &str), &(&str, &str))| {
        let case = format!("{network}/{optimizer}");
        let single = numbers(&format!("{case}/f32"));
        Golden {
            config: config(&format!(
                "model.layers = [{{ kind = 'linear', out = 16 }}, {layers}, {{ kind = 'linear', out = 10 }}]\n\
                 [train]\nbatch = 32\nshuffle = false\noptimizer = '{optimizer}'\n{rates}"
            )),
            start: start(network),
            losses: numbers(&format!("{case}/losses")),
            params: numbers(&format!("{case}/params")),
            single: [single[0], single[1]],
            case,
        }
    };
    pairs.map(golden).collect()
}

/// Distances from PyTorch's f64: the losses of all steps, the parameters after them.
fn errors(golden: &Golden, mut trainer: Trainer) -> [f64; 2] {
    assert_eq!(trainer.params().unwrap().len(), golden.start.len());
    trainer.set_params(&golden.start).unwrap();
    let losses = losses(&mut trainer, STEPS);
    [distance(&losses, &golden.losses), distance(&flat(&trainer.params().unwrap()), &golden.params)]
}

/// Ten times PyTorch's own distance: another order of summation lands elsewhere, but not farther away.
fn check_single(golden: &Golden, found: [f64; 2], device: &str) {
    for ((found, own), what) in found.into_iter().zip(golden.single).zip(["losses", "parameters"]) {
        assert!(found <= 10.0 * own, "{}, {device}, {what}: {found:e} off, PyTorch's f32 is {own:e} off", golden.case);
        assert!(found > 0.0, "{}: f32 cannot be exact", golden.case);
    }
}

#[test]
fn double_precision_follows_pytorch() {
    let goldens = goldens();
    assert_eq!(goldens.len(), 21);
    for golden in goldens {
        let [losses, params] = errors(&golden, on_cpu::<f64>(&golden.config, digits().unwrap(), 2));
        assert!(losses < 1e-9 && params < 1e-9, "{}: losses {losses:e}, parameters {params:e} off", golden.case);
        assert!(golden.losses[STEPS - 1] < golden.losses[0] - 0.1, "{}: it learns", golden.case);
    }
}

#[test]
fn single_precision_is_as_close_as_that_of_pytorch() {
    let mut worst = 0.0f64;
    for golden in goldens() {
        let found = errors(&golden, on_cpu::<f32>(&golden.config, digits().unwrap(), 2));
        worst = worst.max(found[0] / golden.single[0]).max(found[1] / golden.single[1]);
        check_single(&golden, found, "CPU");
    }
    println!("at most {worst:.2} times as far off as PyTorch's f32");
}

fn check_gpu(options: &GpuOptions, goldens: Vec<Golden>) {
    let mut worst = 0.0f64;
    for golden in goldens {
        let Some(trainer) = on_gpu_with(&golden.config, digits().unwrap(), options) else { return };
        let found = errors(&golden, trainer);
        worst = worst.max(found[0] / golden.single[0]).max(found[1] / golden.single[1]);
        check_single(&golden, found, "GPU");
    }
    println!("at most {worst:.2} times as far off as PyTorch's f32");
}

#[test]
fn the_gpu_is_as_close_as_pytorch() {
    check_gpu(&GpuOptions::default(), goldens());
}

/// Eight storage buffers, 16 KiB of workgroup memory, no optional feature; and every index and loop checked.
#[test]
fn the_gpu_is_as_close_with_the_least_limits() {
    let options = GpuOptions { downlevel: true, checked: true, ..GpuOptions::default() };
    check_gpu(&options, goldens().into_iter().filter(|golden| golden.case.ends_with("/adam")).collect());
}
