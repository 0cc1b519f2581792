//! Weights in safetensors files, the format that PyTorch and Hugging Face read.

use super::folder::{Staged, unwritten};
use crate::base::{Error, Result};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo, TensorView};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl TensorData {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as f32, rounded to nearest.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::F32(data) => data.clone(),
            Self::F64(data) => data.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The elements as f64, exact.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(data) => data.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(data) => data.clone(),
        }
    }

    /// Some of the elements as f64, exact.
    pub(super) fn part(&self, part: Range<usize>) -> Vec<f64> {
        match self {
            Self::F32(data) => data[part].iter().map(|&x| f64::from(x)).collect(),
            Self::F64(data) => data[part].to_vec(),
        }
    }
}

/// A tensor and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, as in a PyTorch state dict: `0.weight`.
    pub name: String,
    /// The extent along each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: TensorData,
}

/// Tensors with names.
pub type Tensors = Vec<NamedTensor>;

/// A tensor that is to be written, without its elements: those are asked for when it is their turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name.
    pub name: String,
    /// The extent along each axis.
    pub shape: Vec<usize>,
    /// Whether it is written in double precision, or in single.
    pub double: bool,
}

impl NamedTensor {
    /// What is known of it before its elements.
    ///
    /// # Panics
    /// If it has not as many elements as its shape says.
    pub(super) fn head(&self) -> Head {
        let Self { name, shape, data } = self;
        assert_eq!(shape.iter().product::<usize>(), data.len(), "elements of {name} of shape {shape:?}");
        Head { name: name.clone(), shape: shape.clone(), double: matches!(data, TensorData::F64(_)) }
    }
}

/// Elements that are asked for at once: they take 2 MiB, so that files of any size are written in little memory.
pub(super) const BLOCK: usize = 1 << 18;

/// A tensor's elements by such blocks.
pub(super) fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(BLOCK).map(move |first| first..len.min(first + BLOCK))
}

/// Gives elements of a tensor by its place among the heads.
pub type Elements<'a> = dyn FnMut(usize, Range<usize>) -> Result<Vec<f64>> + 'a;

/// Writes tensors to `path`, whole or not at all. `facts` are kept beside `"format": "pt"` as the file's metadata.
///
/// # Errors
/// The file cannot be written.
///
/// # Panics
/// If a tensor has not as many elements as its shape says, or two have one name.
pub fn write_tensors(path: &Path, tensors: &[NamedTensor], facts: &[(&str, String)]) -> Result<()> {
    let heads: Vec<Head> = tensors.iter().map(NamedTensor::head).collect();
    stage_tensors(path, &heads, facts, &mut |i, part| Ok(tensors[i].data.part(part)))?.commit()
}

/// Writes tensors as [`write_tensors`] does, but asks for their elements block by block, and leaves it to the caller to give
/// the file its name.
///
/// # Errors
/// Those of `elements`, or the file cannot be written.
///
/// # Panics
/// If two tensors have one name.
pub fn stage_tensors(
    path: &Path,
    heads: &[Head],
    facts: &[(&str, String)],
    elements: &mut Elements<'_>,
) -> Result<Staged> {
    // As the safetensors library orders them: the wider elements first, so that all are aligned, then by name.
    let mut order: Vec<usize> = (0..heads.len()).collect();
    order.sort_by_key(|&i| (!heads[i].double, &heads[i].name));
    let header = header(path, order.iter().map(|&i| &heads[i]), facts)?;
    Staged::write(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(|e| unwritten(path, &e));
        put(&(header.len() as u64).to_le_bytes())?;
        put(&header)?;
        let mut bytes = Vec::new();
        for i in order {
            for part in blocks(heads[i].shape.iter().product()) {
                let block = elements(i, part)?;
                bytes.clear();
                if heads[i].double {
                    bytes.extend(block.iter().flat_map(|x| x.to_le_bytes()));
                } else {
                    bytes.extend(block.iter().flat_map(|&x| (x as f32).to_le_bytes()));
                }
                put(&bytes)?;
            }
        }
        Ok(())
    })
}

/// The header of a safetensors file: JSON, filled up with spaces to a multiple of 8 bytes.
fn header<'a>(path: &Path, heads: impl Iterator<Item = &'a Head>, facts: &[(&str, String)]) -> Result<Vec<u8>> {
    let (mut infos, mut end, mut names) = (Vec::new(), 0, std::collections::HashSet::new());
    for Head { name, shape, double } in heads {
        assert!(names.insert(name), "two tensors are named {name}");
        let (start, dtype, bytes) = if *double { (end, Dtype::F64, 8) } else { (end, Dtype::F32, 4) };
        end += bytes * shape.iter().product::<usize>();
        infos.push((name.clone(), TensorInfo { dtype, shape: shape.clone(), data_offsets: (start, end) }));
    }
    // Hugging Face's loaders refuse a file that does not say which framework's layout it has.
    let mut metadata: HashMap<String, String> = HashMap::from([("format".into(), "pt".into())]);
    metadata.extend(facts.iter().map(|(key, value)| ((*key).to_string(), value.clone())));
    let failed = |e: String| Error::failure(path.display(), e);
    let metadata = Metadata::new(Some(metadata), infos).map_err(|e| failed(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| failed(e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Reads all tensors of a file, in the order of their data. F32 and F64 are kept; F16 and BF16 become f32, exactly.
///
/// # Errors
/// The file cannot be read, is no safetensors file, is cut off, or has a tensor of another type.
pub fn read_tensors(path: &Path) -> Result<Tensors> {
    read_tensors_and_facts(path).map(|(tensors, _)| tensors)
}

/// Reads all tensors of a file, and its metadata: what [`write_tensors`] was given as facts, and the format.
///
/// # Errors
/// As [`read_tensors`].
pub fn read_tensors_and_facts(path: &Path) -> Result<(Tensors, HashMap<String, String>)> {
    let place = path.display();
    let bytes = std::fs::read(path).map_err(|e| Error::input(place, format!("could not be read: {e}")))?;
    let broken = |e| {
        Error::input(path.display(), format!("is no safetensors file, or one that was cut off: {e}"))
            .help("write it again; in PyTorch with safetensors.torch.save_file(model.state_dict(), path)")
    };
    let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let tensor = |(name, view): (&str, TensorView<'_>)| {
        let data = decode(view.dtype(), view.data()).ok_or_else(|| {
            Error::input(
                format!("{}: {name}", path.display()),
                format!("a tensor of type {:?}; F32, F64, F16 and BF16 are read", view.dtype()),
            )
            .help("convert it or leave it out when writing the file")
        })?;
        Ok(NamedTensor { name: name.to_string(), shape: view.shape().to_vec(), data })
    };
    let mut views: Vec<_> = file.iter().collect();
    views.sort_by_key(|(_, view)| (view.data().as_ptr().addr(), view.data().len()));
    let tensors = views.into_iter().map(tensor).collect::<Result<_>>()?;
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Option<TensorData> {
    let halves = |widen: fn(u16) -> f32| {
        TensorData::F32(bytes.as_chunks().0.iter().map(|&half| widen(u16::from_le_bytes(half))).collect())
    };
    Some(match dtype {
        Dtype::F32 => TensorData::F32(bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect()),
        Dtype::F64 => TensorData::F64(bytes.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).collect()),
        Dtype::F16 => halves(f16_to_f32),
        Dtype::BF16 => halves(|half| f32::from_bits(u32::from(half) << 16)),
        _ => return None,
    })
}

/// IEEE binary16: 1 sign bit, 5 of exponent (bias 15), 10 of mantissa.
fn f16_to_f32(half: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(half >> 10 & 0x1f), u32::from(half & 0x3ff));
    let magnitude = match exponent {
        0 => mantissa as f32 * (1.0 / 16_777_216.0),
        0x1f => f32::from_bits(0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits((exponent + 127 - 15) << 23 | mantissa << 13),
    };
    f32::from_bits(magnitude.to_bits() | u32::from(half >> 15) << 31)
}

/// The tensors in the order of `expected` (names and shapes), if they are just those.
///
/// # Errors
/// Names every tensor that is missing, was not expected, or has another shape. `place` is the file they came from.
pub fn match_names(place: &str, expected: &[(String, Vec<usize>)], found: Tensors) -> Result<Tensors> {
    let mut by_name: HashMap<String, NamedTensor> = HashMap::new();
    let mut unexpected = Vec::new();
    let shapes: HashMap<&str, &[usize]> = expected.iter().map(|(name, shape)| (&**name, &**shape)).collect();
    for tensor in found {
        if shapes.contains_key(&*tensor.name) {
            by_name.insert(tensor.name.clone(), tensor);
        } else {
            unexpected.push(format!("{} {:?}", tensor.name, tensor.shape));
        }
    }
    let (mut missing, mut misshapen, mut matched) = (Vec::new(), Vec::new(), Vec::new());
    for (name, shape) in expected {
        match by_name.remove(name) {
            None => missing.push(format!("{name} {shape:?}")),
            Some(tensor) if tensor.shape != *shape => {
                misshapen.push(format!("{name} expected {shape:?}, found {:?}", tensor.shape));
            }
            Some(tensor) => matched.push(tensor),
        }
    }
    let lists = [("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen)];
    let faults: Vec<String> = lists.into_iter().filter_map(|(what, names)| list(what, &names)).collect();
    if faults.is_empty() {
        return Ok(matched);
    }
    Err(Error::input(place, format!("the weights do not fit the model: {}", faults.join("; ")))
        .help("the file must come from a model with the same layers"))
}

/// `missing: a, b, c and 7 more`.
fn list(what: &str, names: &[String]) -> Option<String> {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{what}: {shown}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Tensors {
        let named = |name: &str, shape: &[usize], data| NamedTensor { name: name.into(), shape: shape.to_vec(), data };
        vec![
            named("0.weight", &[2, 3], TensorData::F32(vec![1.0, -2.0, 3.5, f32::MIN_POSITIVE, -0.0, f32::INFINITY])),
            named("0.bias", &[3], TensorData::F64(vec![0.1, 1e-300, -7.0])),
            named("scale", &[], TensorData::F32(vec![4.0])),
            named("empty", &[0, 3], TensorData::F32(vec![])),
        ]
    }

    fn expected() -> Vec<(String, Vec<usize>)> {
        tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
    }

    #[test]
    fn tensors_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_tensors(&path, &tensors(), &[("steps", "12".into())]).unwrap();
        let found = match_names("model.safetensors", &expected(), read_tensors(&path).unwrap()).unwrap();
        assert_eq!(found, tensors());
        let (_, metadata) = read_tensors_and_facts(&path).unwrap();
        assert_eq!((&*metadata["format"], &*metadata["steps"]), ("pt", "12"));
        assert_eq!((found[1].data.to_f32()[0], found[0].data.to_f64()[2]), (0.1, 3.5));
    }

    #[test]
    fn half_precision_widens_exactly() {
        for (half, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x03ff, 6.097_555e-5),
            (0x8001, -5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(f16_to_f32(half), value, "{half:#06x}");
        }
        assert!(f16_to_f32(0x7e01).is_nan() && f16_to_f32(0x8000).is_sign_negative());
        let file = |dtype, bytes: &[u8]| {
            let view = TensorView::new(dtype, vec![2], bytes).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.safetensors");
            std::fs::write(&path, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
            read_tensors(&path)
        };
        let data = |dtype, bytes: &[u8]| file(dtype, bytes).unwrap().remove(0).data;
        assert_eq!(data(Dtype::F16, &[0x00, 0x3c, 0x00, 0xc0]), TensorData::F32(vec![1.0, -2.0]));
        assert_eq!(data(Dtype::BF16, &[0x80, 0x3f, 0x49, 0xc0]), TensorData::F32(vec![1.0, -3.140_625]));
        let error = file(Dtype::I32, &[0; 8]).unwrap_err().to_string();
        assert!(error.contains("x.safetensors: x") && error.contains("I32"), "{error}");
    }

    #[test]
    fn broken_files_are_errors_of_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_tensors(&path, &tensors(), &[]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut broken: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        broken.push(b"PK\x03\x04 not a safetensors file at all".to_vec());
        broken.push([0xff; 64].to_vec());
        for bytes in broken {
            std::fs::write(&path, &bytes).unwrap();
            let error = read_tensors(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("cut off"), "{} bytes: {error}", bytes.len());
        }
        assert!(read_tensors(&folder.path().join("none")).unwrap_err().to_string().contains("could not be read"));
    }

    #[test]
    fn what_does_not_fit_is_listed() {
        let mut found = tensors();
        found[0].name = "0.weights".into();
        found[1].shape = vec![1, 3];
        let error = match_names("model.safetensors", &expected(), found).unwrap_err().to_string();
        for part in [
            "model.safetensors: ",
            "missing: 0.weight [2, 3];",
            "unexpected: 0.weights [2, 3];",
            "wrong shape: 0.bias expected [3], found [1, 3]",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let many: Vec<_> = (0..20).map(|i| (format!("layer.{i}"), vec![1])).collect();
        assert!(match_names("x", &many, vec![]).unwrap_err().to_string().contains("layer.7 [1] and 12 more"));
    }
}
