//! The networks that are timed: the same on every device.

use crate::base::{Error, Result, Stream, StreamId};
use crate::config::Config;
use crate::data::{Dataset, Splits, Targets};
use crate::run::{Setup, Trainer, open_device};

/// A network of dense layers with ReLU between them, and how it is trained.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub name: &'static str,
    /// Numbers that go in, then of each layer.
    pub widths: Vec<usize>,
    pub batch: usize,
    optimizer: &'static str,
    /// Whether it is left out where there is little time.
    pub is_large: bool,
}

/// Rows of data that it is trained on, over and over: so many, but two to sixteen batches.
const ROWS: usize = 2048;

/// Copies of the parameters that a training has at most, in arenas and on their way there.
const COPIES: u64 = 12;

impl Network {
    /// All of them, the smallest first.
    pub fn all() -> [Self; 4] {
        let network = |name, widths: &[usize], batch, optimizer, is_large| Self {
            name,
            widths: widths.to_vec(),
            batch,
            optimizer,
            is_large,
        };
        let deep = |width: usize| [vec![width; 6], vec![10]].concat();
        [
            network("64-32-10", &[64, 32, 10], 32, "adam", false),
            network("784-512-512-10", &[784, 512, 512, 10], 128, "momentum", false),
            network("2048×6-10", &deep(2048), 128, "momentum", true),
            network("4096×6-10", &deep(4096), 4096, "momentum", true),
        ]
    }

    /// How it is trained, in words.
    pub fn how(&self) -> String {
        format!("{}, batch {}, {}", self.name, self.batch, self.optimizer)
    }

    /// Floating-point operations of the products of a step: forward, and backward to the weights of each layer and to the
    /// inputs of all but the first.
    pub fn flops(&self) -> f64 {
        let products = self.widths.windows(2).map(|pair| (pair[0] * pair[1]) as f64);
        2.0 * self.batch as f64 * (3.0 * products.sum::<f64>() - (self.widths[0] * self.widths[1]) as f64)
    }

    /// About how much memory its training takes on the way to the device.
    pub fn memory_bytes(&self) -> u64 {
        let parameters: usize = self.widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        let activations = 4 * self.batch * self.widths.iter().sum::<usize>();
        let data = self.rows() * self.widths[0];
        4 * (COPIES * parameters as u64 + (activations + data) as u64)
    }

    fn rows(&self) -> usize {
        self.batch * (ROWS / self.batch).clamp(2, 16)
    }

    /// A trainer of it on the device that `base` names, which measures what `probes` says.
    pub fn trainer(&self, base: &Config, probes: &str) -> Result<Trainer> {
        let (batch, optimizer, outputs) = (self.batch, self.optimizer, self.widths[self.widths.len() - 1]);
        let hidden = &self.widths[1..self.widths.len() - 1];
        let hidden: String =
            hidden.iter().map(|out| format!("{{ kind = \"linear\", out = {out} }}, \"relu\", ")).collect();
        let text = format!(
            "[model]\nlayers = [{hidden}{{ kind = \"linear\", out = {outputs} }}]\n\
             [train]\nbatch = {batch}\nmicro_batch = {batch}\noptimizer = \"{optimizer}\"\nlr = 1e-3\nepochs = 1000000000\n\
             [probes]\n{probes}\n"
        );
        let mut config = Config::from_toml_str(&text, "bench")?;
        config.device = base.device.clone();
        let device = open_device(&config)?;
        let splits = self.data(outputs)?;
        Trainer::new(&config, Setup { splits, executor: device.executor, threads: device.threads, objective: None })
    }

    /// Random numbers with random labels.
    fn data(&self, classes: usize) -> Result<Splits> {
        let (rows, features) = (self.rows(), self.widths[0]);
        let mut stream = Stream::new(1, StreamId::Data(0));
        let values: Vec<f32> = (0..rows * features).map(|_| (2.0 * stream.uniform() - 1.0) as f32).collect();
        let x = ndarray::Array2::from_shape_vec((rows, features), values).map_err(|e| Error::failure("bench", e))?;
        let labels = (0..rows).map(|_| stream.below(classes as u32)).collect();
        let train = Dataset::new("random numbers", x, Targets::Classes { labels, classes })?;
        Splits::new("random numbers", train, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_that_of_the_products() {
        let [small, medium, ..] = Network::all();
        // Forward, weights; inputs of the second layer alone.
        assert_eq!(small.flops(), 2.0 * 32.0 * (2.0 * (64.0 * 32.0 + 32.0 * 10.0) + 32.0 * 10.0));
        assert_eq!(medium.how(), "784-512-512-10, batch 128, momentum");
        assert!((medium.flops() - 411e6).abs() < 1e6, "{}", medium.flops());
    }

    #[test]
    fn its_trainer_has_its_parameters() {
        let mut base = Config::builtin_digits();
        base.device.device = "cpu".into();
        let [small, ..] = Network::all();
        let mut trainer = small.trainer(&base, "preset = 'off'").unwrap();
        assert_eq!(
            trainer.params().unwrap().iter().map(|tensor| tensor.values.len()).sum::<usize>(),
            65 * 32 + 33 * 10
        );
        assert_eq!(trainer.batch_rows(), 32);
        assert!(trainer.step().unwrap().values.scalar("loss").is_finite());
    }
}
