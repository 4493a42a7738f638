//! Where a matrix of a model lies in its files, so that each rank can read its own piece of it.

use std::ops::Range;
use std::path::Path;

use collectives::{Group, Lost};
use kernels::{Along, Asked, Coded, Given, Quantized, Scheme};
use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use crate::dtype::Precision;
use crate::error::LoadError;
use crate::nn::Function;
use crate::weights::{Slice, Weights};

/// A matrix `[out, in]` of the files' tensors, their rows one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    pub blocks: Vec<Block>,
}

/// A tensor, or one of those that lie in it, as rows of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub name: String,
    /// The whole tensor's shape.
    pub shape: Vec<i64>,
    /// Which matrix of the tensor is meant, where it has many.
    pub index: Option<i64>,
    /// It lies `[in, out]`.
    pub turned: bool,
}

/// What the leading rank tells the others of a matrix.
#[derive(Serialize, Deserialize)]
struct Request {
    matrix: Matrix,
    precision: Precision,
    /// It is one of a layer's, which may be in few bits.
    packed: bool,
    inputs: bool,
}

impl Block {
    /// A tensor that is a matrix.
    pub fn new(name: impl Into<String>, shape: [i64; 2]) -> Self {
        Self { name: name.into(), shape: shape.into(), index: None, turned: false }
    }

    /// Returns `[out, in]`.
    pub fn size(&self) -> [i64; 2] {
        match (self.shape.as_slice(), self.turned) {
            (&[.., outputs, inputs], false) | (&[.., inputs, outputs], true) => [outputs, inputs],
            _ => [0, 0],
        }
    }
}

impl Block {
    /// Reads some rows, or some columns of all, as `[out, in]`.
    fn read(&self, weights: &mut Weights, along: Along, range: Range<i64>) -> Result<Tensor, LoadError> {
        let slice = Slice { index: self.index, dim: usize::from((along == Along::Outputs) == self.turned), range };
        let part = weights.read_slice(&self.name, &self.shape, &slice)?;
        Ok(if self.turned { part.f_transpose(0, 1)?.f_contiguous()? } else { part })
    }

    /// Brings some rows into few bits, as they are when all are: some more are read where a scale is for numbers of several.
    fn quantized(&self, weights: &mut Weights, scheme: Scheme, rows: &Range<i64>) -> Result<Coded, LoadError> {
        let [outputs, inputs] = self.size();
        let together = scheme.rows_together(inputs);
        let (first, end) = (rows.start / together * together, (rows.end + together - 1) / together * together);
        let (end, device) = (end.min(outputs), weights.device());
        let all = scheme.quantize([end - first, inputs], device, |start, count| {
            self.read(weights, Along::Outputs, first + start..first + start + count)
        });
        let own = rows.start - first..rows.end - first;
        let own = all.and_then(|all| if own == (0..end - first) { Ok(all) } else { Ok(all.narrow(&own)?) });
        own.map_err(|error| match error {
            LoadError::Torch(error @ TchError::Shape(_)) => {
                weights.refused(&self.name, format!("cannot be kept in few bits: {error}"))
            }
            error => error,
        })
        .inspect(|_| weights.tidy(outputs * inputs))
    }
}

impl Matrix {
    /// Returns `[out, in]`.
    pub fn size(&self) -> [i64; 2] {
        let sizes = self.blocks.iter().map(Block::size);
        [sizes.clone().map(|[outputs, _]| outputs).sum(), sizes.map(|[_, inputs]| inputs).max().unwrap_or(0)]
    }

    /// Reads some rows, or some columns of all.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn read(&self, weights: &mut Weights, along: Along, own: &Range<i64>) -> Result<Tensor, LoadError> {
        let (mut read, mut first) = (Vec::with_capacity(self.blocks.len()), 0);
        for block in &self.blocks {
            let [outputs, _] = block.size();
            let range = match along {
                Along::Outputs => (own.start - first).clamp(0, outputs)..(own.end - first).clamp(0, outputs),
                Along::Inputs => own.clone(),
            };
            first += outputs;
            read.push(block.read(weights, along, range)?);
        }
        match read.len() {
            1 => read.pop().ok_or_else(|| LoadError::Table("without blocks".into())),
            _ => Ok(Tensor::f_cat(&read, 0)?),
        }
    }

    /// Reads some rows, or some columns of all, as they are to be kept: in few bits, if they are.
    ///
    /// # Errors
    /// As [`Weights::read`]; for what is in few bits and cannot be, and what cannot be brought there.
    pub fn load(
        &self,
        weights: &mut Weights,
        packed: bool,
        along: Along,
        own: &Range<i64>,
    ) -> Result<Given, LoadError> {
        let coded = self.blocks.iter().filter(|block| weights.is_coded(block)).count();
        let refused = |block: Option<&Block>, reason: &str| match block {
            Some(block) => weights.refused(&block.name, reason),
            None => LoadError::Table("without blocks".into()),
        };
        let scheme = match (coded, weights.scheme()) {
            (0, Some(scheme)) if packed => Some(scheme),
            (0, _) => return self.read(weights, along, own).map(Given::Dense),
            _ if !packed => {
                return Err(refused(
                    self.blocks.first(),
                    "is in few bits, but tables of words and heads are served as floats alone",
                ));
            }
            (coded, _) if coded < self.blocks.len() => {
                let plain = self.blocks.iter().find(|block| !weights.is_coded(block));
                return Err(refused(plain, "is not in few bits, but what is multiplied with it as one is"));
            }
            _ => None,
        };
        if along == Along::Inputs {
            return Err(refused(self.blocks.first(), "is in few bits, which are not cut across rows"));
        }
        let (mut parts, mut first) = (Vec::with_capacity(self.blocks.len()), 0);
        for block in &self.blocks {
            let [outputs, _] = block.size();
            let rows = (own.start - first).clamp(0, outputs)..(own.end - first).clamp(0, outputs);
            first += outputs;
            if rows.is_empty() {
                weights.leave(block);
                continue;
            }
            parts.push(match (scheme, weights.coded(block, &rows)?) {
                (_, Some(coded)) => coded,
                (Some(scheme), None) => block.quantized(weights, scheme, &rows)?,
                (None, None) => return Err(weights.refused(&block.name, "is not in few bits")),
            });
        }
        Ok(Given::Quantized(Quantized::new(parts, weights.kind())?))
    }

    /// Writes what other ranks need to read theirs. Names are as the files have them.
    pub fn request(&self, weights: &Weights, precision: Precision, packed: bool, along: Along) -> Vec<u8> {
        let mut matrix = self.clone();
        for block in &mut matrix.blocks {
            block.name = weights.own_name(&block.name).into_owned();
        }
        let request = Request { matrix, precision, packed, inputs: along == Along::Inputs };
        serde_json::to_vec(&request).unwrap_or_default()
    }
}

/// Holds a rank's pieces of a model that lies in a folder, on a device, and does with them what the group's leader says,
/// until it ends the group.
///
/// # Errors
/// When the group is lost.
pub fn follow(folder: &Path, device: torch::Device, group: &dyn Group) -> Result<(), Lost> {
    libtorch::prepare();
    let mut open: Option<(Precision, Weights)> = None;
    let mut load = |asked: &Asked<'_>| -> Result<Given, LoadError> {
        let wrong = |error: serde_json::Error| LoadError::Table(error.to_string());
        let Request { matrix, precision, packed, inputs } = serde_json::from_slice(asked.request).map_err(wrong)?;
        let weights = match &mut open {
            Some((known, weights)) if *known == precision => weights,
            other => &mut other.insert((precision, Weights::open_as(folder, precision, device)?)).1,
        };
        matrix.load(weights, packed, if inputs { Along::Inputs } else { Along::Outputs }, &asked.own)
    };
    kernels::follow(
        group,
        device.into(),
        &mut |asked| load(asked).map_err(|error| error.to_string()),
        &Function::apply_numbered,
    )
}

/// Has this process compute with its share of the cores, of which so many processes compute at the same time.
pub fn share_cores(processes: usize) {
    let all = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    tch::set_num_threads(i32::try_from((all / processes.max(1)).max(1)).unwrap_or(1));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tch::Kind;

    use super::*;

    #[test]
    fn pieces_of_matrices_are_what_is_cut_of_the_whole_however_it_lies() {
        libtorch::prepare();
        let folder = tempfile::tempdir().unwrap();
        let numbers: Vec<u8> = (0..2 * 3 * 4 + 5 * 4).flat_map(|at| (at as f32).to_le_bytes()).collect();
        let header = r#"{"many":{"dtype":"F32","shape":[2,3,4],"data_offsets":[0,96]},"one":{"dtype":"F32","shape":[5,4],"data_offsets":[96,176]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat();
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        for kind in [Kind::Float, Kind::BFloat16] {
            let mut weights = Weights::open(folder.path(), kind, torch::Device::CPU).unwrap();
            let many = weights.read("many", &[2, 3, 4]).unwrap();
            let one = weights.read("one", &[5, 4]).unwrap();
            let block = |index, turned| Block { name: "many".into(), shape: vec![2, 3, 4], index: Some(index), turned };
            for (blocks, whole) in [
                (vec![Block::new("one", [5, 4])], one.shallow_clone()),
                (vec![block(1, false)], many.get(1)),
                (vec![block(1, true)], many.get(1).tr()),
                (vec![Block { turned: true, ..Block::new("one", [5, 4]) }], one.tr()),
                (vec![Block::new("one", [5, 4]), block(0, false)], Tensor::cat(&[&one, &many.get(0)], 0)),
            ] {
                let matrix = Matrix { blocks };
                assert_eq!(matrix.size().as_slice(), whole.size());
                for (along, side) in [(Along::Outputs, 0), (Along::Inputs, 1)] {
                    let length = whole.size()[side];
                    for start in 0..length {
                        for end in start + 1..=length {
                            let found = matrix.read(&mut weights, along, &(start..end)).unwrap();
                            assert_eq!(
                                found,
                                whole.narrow(side as i64, start, end - start),
                                "{matrix:?} {start}..{end}"
                            );
                        }
                    }
                }
            }
        }
    }
}
