//! A trained model as it lies in a run folder.

use super::folder::RunFolder;
use super::load;
use super::tensors::{HostTensor, read_params};
use crate::base::{Error, Result};
use crate::config::Config;
use crate::data::{Dataset, Preprocessing};
use crate::nn::{Description, Model};
use std::path::{Path, PathBuf};

/// Settings, weights and the preparation of inputs: what it takes to predict.
#[derive(Clone, Debug)]
pub struct SavedModel {
    /// The settings of the run.
    pub config: Config,
    /// How inputs are prepared, and the names of the classes.
    pub preprocessing: Preprocessing,
    /// The weights.
    pub params: Vec<HostTensor>,
}

impl SavedModel {
    /// The model of a run: `config.toml`, `preprocessing.json` and `model.safetensors` of its folder.
    ///
    /// # Errors
    /// If it is not the folder of a run, or a file of it is missing, damaged or does not fit the others.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), None)
    }

    /// The model of a run with weights from another file, where one is given.
    ///
    /// # Errors
    /// As [`SavedModel::open`].
    pub fn open_with(path: &Path, weights: Option<&Path>) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let config = Config::from_file(folder.file("config.toml"))?;
        let preprocessing = read_preprocessing(&folder.file("preprocessing.json"))?;
        let weights = weights.map_or_else(|| folder.file("model.safetensors"), PathBuf::from);
        Self::new(config, preprocessing, &weights)
    }

    /// A model of these settings, with weights from a file. Inputs are prepared as a training would prepare them.
    ///
    /// # Errors
    /// If the data cannot be loaded, or the weights are missing, damaged, or those of another model.
    pub fn from_config(config: Config, weights: &Path) -> Result<Self> {
        let preprocessing = load(&config)?.preprocessing;
        Self::new(config, preprocessing, weights)
    }

    fn new(config: Config, preprocessing: Preprocessing, weights: &Path) -> Result<Self> {
        let model = describe(&config, &preprocessing)?;
        let params = read_params(weights, &model)?;
        Ok(Self { config, preprocessing, params })
    }

    /// The test part of the data that the settings name.
    ///
    /// # Errors
    /// If the data cannot be loaded, has no test part, or has changed since the run.
    pub fn test_part(&self) -> Result<Dataset> {
        let place = format!("{}: data", self.config.name);
        let splits = load(&self.config)?;
        if splits.preprocessing != self.preprocessing {
            let error = Error::input(place, "it is no longer what the model was trained on");
            return Err(error.help("restore it, or give examples of your own"));
        }
        splits.test.ok_or_else(|| {
            Error::input(place, "it has no test part")
                .help("give examples of your own, or set data.test_split before training")
        })
    }

    /// The model with nothing left open.
    ///
    /// # Errors
    /// If the settings do not fit the inputs.
    pub fn describe(&self) -> Result<Description> {
        describe(&self.config, &self.preprocessing)
    }
}

fn describe(config: &Config, preprocessing: &Preprocessing) -> Result<Description> {
    Model::from(config.model.clone()).describe(&preprocessing.sample_shape)
}

/// How a run prepared its inputs.
pub(super) fn read_preprocessing(path: &Path) -> Result<Preprocessing> {
    let place = path.display();
    let text = std::fs::read(path).map_err(|error| Error::input(place, format!("could not be read: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::input(path.display(), format!("it does not say how inputs are prepared: {error}"))
            .help("it is written when a run begins; take it from the folder of the run")
    })
}
