//! From arguments to settings: a config file, the config of a run, or the built-in one, and what is changed in it.

use super::args::{ConfigArgs, DeviceArgs, TrainArgs};
use crate::base::{Error, Result};
use crate::config::Config;
use crate::run::folder::RunFolder;
use std::fmt::Display;
use std::path::Path;

/// The file in which a run keeps its settings.
pub const CONFIG_FILE: &str = "config.toml";

/// The settings that the arguments name.
pub fn resolve(args: &ConfigArgs) -> Result<Config> {
    let mut config = match &args.config {
        Some(path) => read(path)?,
        None => Config::builtin_digits(),
    };
    change(&mut config, &args.set)?;
    Ok(config)
}

/// The same arguments without what they change, to change something else before.
pub fn without_changes(args: &ConfigArgs) -> ConfigArgs {
    ConfigArgs { set: Vec::new(), ..args.clone() }
}

/// Changes settings. A path to data that is given here starts from where the program runs.
pub fn change(config: &mut Config, assignments: &[String]) -> Result<()> {
    config.set_all(assignments)?;
    let here = std::env::current_dir().map_err(|error| Error::failure("the current folder", error))?;
    config.rebase(&here);
    Ok(())
}

/// The settings in a file, or those of the run whose folder it is.
pub fn read(path: &Path) -> Result<Config> {
    if path.is_dir() { of_run(path) } else { Config::from_file(path) }
}

/// The settings of the run whose folder it is.
fn of_run(path: &Path) -> Result<Config> {
    Config::from_file(RunFolder::open(path)?.file(CONFIG_FILE))
}

/// The settings of a training, those of the run that it goes on with included, with what its flags say. Flags win over `--set`, which wins over the file.
pub fn resolve_train(args: &TrainArgs) -> Result<Config> {
    let mut config = match &args.resume {
        Some(folder) => {
            let mut config = of_run(folder)?;
            change(&mut config, &args.config.set)?;
            config
        }
        None => resolve(&args.config)?,
    };
    let ids: Vec<String> = args.stop_on.iter().map(|id| quoted(id)).collect();
    set_numbers(&mut config, args.seed, args.epochs, args.max_steps)?;
    let max_time = args.max_time.as_deref().map(quoted);
    set_flag(&mut config, "--max-time", "train.max_time", max_time)?;
    let stop_on = (!ids.is_empty()).then(|| format!("[{}]", ids.join(", ")));
    set_flag(&mut config, "--stop-on", "verdicts.stop_on", stop_on)?;
    set_device(&mut config, &args.device)?;
    Ok(config)
}

/// Changes what a flag stands for, if it is given. Errors name the flag and the key.
pub fn set_flag(config: &mut Config, flag: &str, key: &str, value: Option<impl Display>) -> Result<()> {
    config.set_all_for(flag, value.map(|value| format!("{key}={value}")))
}

/// Puts seed and end of a training into the settings, those that were asked for.
pub fn set_numbers(config: &mut Config, seed: Option<u64>, epochs: Option<u64>, max_steps: Option<u64>) -> Result<()> {
    set_flag(config, "--seed", "train.seed", seed)?;
    set_flag(config, "--epochs", "train.epochs", epochs)?;
    set_flag(config, "--max-steps", "train.max_steps", max_steps)
}

/// Puts device and precision that were asked for into the settings, so that the record of the run has them.
pub fn set_device(config: &mut Config, args: &DeviceArgs) -> Result<()> {
    set_flag(config, "--device", "device.device", args.device.as_deref().map(quoted))?;
    set_flag(config, "--precision", "train.precision", args.precision.as_deref().map(quoted))
}

/// A TOML string: `0` as a device is a name, not a number.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn config(line: &str) -> Result<Config> {
        let cli = Cli::parse_from(std::iter::once("steepest").chain(line.split_whitespace()));
        let Command::Train(args) = cli.command else { panic!("{line}") };
        resolve_train(&args)
    }

    #[test]
    fn flags_are_settings() {
        let line = "train --set train.seed=1 --set train.lr=0.5 --seed 7 --epochs 3 --max-steps 9 --max-time 1m --device 0 --precision f64";
        let config = config(line).unwrap();
        let train = &config.train;
        assert_eq!((train.seed, train.epochs, train.max_steps), (7, 3, Some(9)));
        assert_eq!((train.max_time.unwrap().as_secs(), train.optimizer.lr()), (60, 0.5));
        assert_eq!((config.device.device.as_str(), config.train.precision), ("0", crate::config::Precision::F64));
    }

    #[test]
    fn errors_name_the_key() {
        for (line, expected) in [
            ("train --epochs 0", "--epochs: train.epochs: 0 is out of range"),
            ("train --max-steps 0", "--max-steps: train.max_steps: 0 is out of range"),
            ("train --max-time soon", "--max-time: train.max_time: expected seconds"),
            ("train --device=", "--device: device.device: expected the name of a device"),
            ("train --precision f16", "--precision: train.precision: expected"),
            ("train --epochs 3 --set train.epochs=0", "--set: train.epochs: 0 is out of range"),
            ("train nowhere.toml", "nowhere.toml: the config cannot be read"),
            ("train --resume nowhere", "nowhere: there is no such folder"),
        ] {
            let error = config(line).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(expected), "{line}: {error}");
        }
    }
}
