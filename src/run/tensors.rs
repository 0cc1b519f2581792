//! Tensors with names between host, arenas and weight files.

use super::blueprint::names;
use super::weights::{Head, NamedTensor, TensorData, Tensors, blocks, match_names, read_tensors};
use crate::base::{Error, Result, Shape};
use crate::exec::{Executor, Host};
use crate::graph::{Graph, ValueId};
use crate::nn::Description;
use crate::plan::{Arena, Place};
use std::ops::Range;
use std::path::Path;

/// A named tensor on the host, in double precision whatever the device computes in.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// The name: `0.weight`.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// The values, row-major.
    pub values: Vec<f64>,
}

/// Reads the parameters of a model from a safetensors file.
///
/// # Errors
/// If the file is missing or damaged, or holds other names or shapes than the model's.
pub fn read_params(path: &Path, model: &Description) -> Result<Vec<HostTensor>> {
    let expected: Vec<_> = model.params.iter().map(|param| (param.name.clone(), param.shape.to_vec())).collect();
    let tensors = match_names(&path.display().to_string(), &expected, read_tensors(path)?)?;
    let tensors = tensors.into_iter().zip(&model.params);
    Ok(tensors
        .map(|(tensor, param)| HostTensor { name: tensor.name, shape: param.shape, values: tensor.data.to_f64() })
        .collect())
}

/// The arena of a model's parameters.
pub(super) fn arena_of(model: &Description, part_len_max: usize) -> Result<Arena> {
    Arena::new(model.params.iter().map(|param| (param.name.as_str(), param.shape)), part_len_max)
}

/// Where a parameter lies in an arena called `kind`.
pub(super) fn arena_place(arena: &Arena, kind: &str, name: &str) -> Place {
    let tensor = arena.find(name).expect("every parameter is in the arena");
    let len = arena.parts[tensor.part];
    Place { buffer: Arena::buffer(kind, tensor.part), offset: tensor.offset, len }
}

/// The places of the parameters that a graph names.
pub(super) fn param_places(graph: &Graph, arena: &Arena) -> Vec<(ValueId, Place)> {
    graph.params().map(|(name, id)| (id, arena_place(arena, names::PARAMS, name))).collect()
}

/// A tensor as it goes into a file in double precision.
pub(super) fn named(tensor: HostTensor) -> NamedTensor {
    NamedTensor { name: tensor.name, shape: tensor.shape.to_vec(), data: TensorData::F64(tensor.values) }
}

/// Tensors of a file as those of an arena, in its order: they must be just these.
pub(super) fn in_order(place: &str, arena: &Arena, tensors: Tensors) -> Result<Tensors> {
    let expected: Vec<_> = arena.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.to_vec())).collect();
    match_names(place, &expected, tensors)
}

/// The same as an arena takes them.
pub(super) fn fit(place: &str, arena: &Arena, tensors: Tensors) -> Result<Vec<HostTensor>> {
    let tensors = in_order(place, arena, tensors)?.into_iter().zip(&arena.tensors);
    Ok(tensors
        .map(|(tensor, known)| HostTensor { name: tensor.name, shape: known.shape, values: tensor.data.to_f64() })
        .collect())
}

/// Uploads parameter values; names and shapes were checked.
pub(super) fn write_params(executor: &mut dyn Executor, arena: &Arena, tensors: &[HostTensor]) -> Result<()> {
    write_arena(executor, arena, names::PARAMS, tensors)
}

/// Uploads values of an arena called `kind`; names and shapes were checked.
pub(super) fn write_arena(
    executor: &mut dyn Executor,
    arena: &Arena,
    kind: &str,
    tensors: &[HostTensor],
) -> Result<()> {
    for tensor in tensors {
        let place = arena.find(&tensor.name);
        let place = place.ok_or_else(|| Error::failure(&tensor.name, "the model has no such parameter"))?;
        write(executor, &Arena::buffer(kind, place.part), place.offset, Host::F64(&tensor.values))?;
    }
    Ok(())
}

/// The values of an arena called `kind`, tensor by tensor.
pub(super) fn read_arena(executor: &mut dyn Executor, arena: &Arena, kind: &str) -> Result<Vec<HostTensor>> {
    let tensors = arena.tensors.iter().map(|tensor| {
        let buffer = Arena::buffer(kind, tensor.part);
        let values = read(executor, &buffer, tensor.offset, tensor.shape.len())?;
        Ok(HostTensor { name: tensor.name.clone(), shape: tensor.shape, values })
    });
    tensors.collect()
}

/// A tensor of an arena that is to be written from where it is.
#[derive(Clone, Debug)]
pub(super) struct OnDevice {
    /// What is known of it before its elements.
    pub head: Head,
    buffer: String,
    offset: usize,
}

impl OnDevice {
    /// The tensors of an arena called `kind`; what stands before their names in a file is `prefix`.
    pub fn of_arena(arena: &Arena, kind: &str, prefix: &str, double: bool) -> Vec<Self> {
        let tensors = arena.tensors.iter().map(|tensor| Self {
            head: Head { name: format!("{prefix}{}", tensor.name), shape: tensor.shape.to_vec(), double },
            buffer: Arena::buffer(kind, tensor.part),
            offset: tensor.offset,
        });
        tensors.collect()
    }

    /// The tensor with its elements.
    pub fn fetch(&self, executor: &mut dyn Executor) -> Result<NamedTensor> {
        let Head { name, shape, double } = self.head.clone();
        let len = shape.iter().product();
        let mut data = match double {
            true => TensorData::F64(Vec::with_capacity(len)),
            false => TensorData::F32(Vec::with_capacity(len)),
        };
        for part in blocks(len) {
            let block = self.read(executor, part)?;
            match &mut data {
                TensorData::F64(data) => data.extend(block),
                TensorData::F32(data) => data.extend(block.iter().map(|&x| x as f32)),
            }
        }
        Ok(NamedTensor { name, shape, data })
    }

    /// Some of the elements.
    pub fn read(&self, executor: &mut dyn Executor, part: Range<usize>) -> Result<Vec<f64>> {
        read(executor, &self.buffer, self.offset + part.start, part.len())
    }
}

/// Writes to a buffer by its name. One that no plan names is not needed, and left alone.
pub(super) fn write(executor: &mut dyn Executor, name: &str, offset: usize, data: Host<'_>) -> Result<()> {
    match executor.buffer(name) {
        Some(buffer) => executor.write(buffer, offset, data),
        None => Ok(()),
    }
}

/// Reads from a buffer by its name.
pub(super) fn read(executor: &mut dyn Executor, name: &str, offset: usize, len: usize) -> Result<Vec<f64>> {
    let buffer = executor.buffer(name).ok_or_else(|| Error::failure(name, "no plan names this buffer"))?;
    executor.read(buffer, offset, len)
}
