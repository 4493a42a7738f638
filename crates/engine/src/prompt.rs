//! What a trace is given, turned into the rows of a batch.

use std::rc::Rc;

use interpreter::Value;
use interpreter::raise::Raise;
use program::{DType, TensorData};

use crate::model::{Tensor, Tokenizer};
use crate::output::ModelOutput;
use crate::python;

/// One sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub ids: Vec<i64>,
    /// One where a token counts, zero where it is padding.
    pub mask: Vec<i64>,
    pub positions: Option<Vec<i64>>,
}

impl Row {
    /// Makes a row without padding.
    #[must_use]
    pub fn unpadded(ids: Vec<i64>) -> Self {
        let mask = vec![1; ids.len()];
        Self { ids, mask, positions: None }
    }
}

/// Rows of equal length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub rows: i64,
    pub length: i64,
    /// `[rows, length]`, row by row.
    pub ids: Vec<i64>,
    pub mask: Vec<i64>,
    /// Present when some row is padded on its left, or the caller gave positions.
    pub positions: Option<Vec<i64>>,
}

impl Batch {
    /// Returns whether every token counts.
    #[must_use]
    pub fn full(&self) -> bool {
        self.mask.iter().all(|&one| one == 1)
    }

    /// Returns the sequences.
    #[must_use]
    pub fn sequences(&self) -> Vec<Vec<i64>> {
        self.split().into_iter().map(|row| row.ids).collect()
    }

    /// Returns the rows, padding kept.
    #[must_use]
    pub fn split(&self) -> Vec<Row> {
        let length = usize::try_from(self.length).unwrap_or(0).max(1);
        let chunks = self.ids.chunks(length).zip(self.mask.chunks(length));
        chunks.map(|(ids, mask)| Row { ids: ids.to_vec(), mask: mask.to_vec(), positions: None }).collect()
    }
}

/// Input of one invoke: its rows and the keyword arguments that are not input.
pub struct Prompt {
    pub rows: Vec<Row>,
    pub rest: Vec<(Rc<str>, Value)>,
}

/// Reads what an invoke was given: text, texts, token ids in any form, or an encoding. No rows means no input at all.
///
/// # Errors
/// `TypeError` or `ValueError` for input that a language model does not take.
pub fn read<T: Tensor>(
    tokenizer: &dyn Tokenizer,
    args: &[Value],
    kwargs: &[(Rc<str>, Value)],
) -> Result<Prompt, Raise> {
    let mut rest: Vec<(Rc<str>, Value)> = Vec::new();
    let mut fields: Vec<(Rc<str>, Value)> = Vec::new();
    let mut rows = Vec::new();
    let mut read_fields = |pairs: &[(Rc<str>, Value)]| {
        for (name, value) in pairs {
            let list =
                if ROW_FIELDS.contains(&&**name) && !matches!(value, Value::None) { &mut fields } else { &mut rest };
            list.retain(|(other, _)| other != name);
            list.push((Rc::clone(name), value.clone()));
        }
    };
    match args.first() {
        None | Some(Value::None) => {}
        Some(data) => {
            if let Some(pairs) = mapping(data) {
                read_fields(&pairs);
            } else if let Some(text) = python::string(data) {
                rows.push(Row::unpadded(tokenizer.encode(&text, true)?));
            } else if let Some(texts) = texts(data) {
                for text in texts {
                    rows.push(Row::unpadded(tokenizer.encode(&text, true)?));
                }
            } else {
                read_fields(&[("input_ids".into(), data.clone())]);
            }
        }
    }
    read_fields(kwargs);
    let field = |name: &str| fields.iter().find(|(field, _)| &**field == name).map(|(_, value)| value);
    if let Some(ids) = field("input_ids") {
        if !rows.is_empty() {
            return Err(Raise::value_error("give either a prompt or input_ids, not both"));
        }
        rows = id_rows::<T>(ids)?
            .map_or_else(|| token_ids::<T>(ids).map(|ids| vec![ids]), Ok)?
            .into_iter()
            .map(Row::unpadded)
            .collect();
    }
    for (name, value) in &fields {
        let given = match &**name {
            "input_ids" => continue,
            "attention_mask" | "position_ids" => {
                id_rows::<T>(value)?.map_or_else(|| token_ids::<T>(value).map(|row| vec![row]), Ok)?
            }
            other => {
                return Err(Raise::value_error(format!("`{other}` as input is not supported by this server")));
            }
        };
        let count = rows.len();
        if given.len() != count && !(given.len() == 1 && &**name == "position_ids") {
            return Err(Raise::value_error(format!("`{name}` has {} rows, but `input_ids` has {count}.", given.len())));
        }
        for (index, row) in rows.iter_mut().enumerate() {
            let values = given.get(index).or_else(|| given.first()).cloned().unwrap_or_default();
            if values.len() != row.ids.len() {
                return Err(Raise::value_error(format!(
                    "`{name}` has {} positions for a row of {} tokens.",
                    values.len(),
                    row.ids.len()
                )));
            }
            if &**name == "attention_mask" {
                row.mask = values;
            } else {
                row.positions = Some(values);
            }
        }
    }
    if rows.iter().any(|row| row.ids.is_empty()) {
        return Err(Raise::value_error("the input has no tokens"));
    }
    Ok(Prompt { rows, rest })
}

/// Pads rows on the left to one length. Positions count from each row's first token where anything is padded.
#[must_use]
pub fn pad_left(rows: &[Row], pad_token: i64) -> Batch {
    let length = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let mut batch = Batch {
        rows: i64::try_from(rows.len()).unwrap_or(i64::MAX),
        length: i64::try_from(length).unwrap_or(i64::MAX),
        ids: Vec::with_capacity(rows.len() * length),
        mask: Vec::with_capacity(rows.len() * length),
        positions: None,
    };
    let mut positions = Vec::with_capacity(rows.len() * length);
    let mut needed = false;
    for row in rows {
        let padding = length - row.ids.len();
        batch.ids.extend(std::iter::repeat_n(pad_token, padding).chain(row.ids.iter().copied()));
        let start = batch.mask.len();
        batch.mask.extend(std::iter::repeat_n(0, padding).chain(row.mask.iter().copied()));
        let mask = batch.mask.get(start..).unwrap_or_default();
        needed |= row.positions.is_some();
        match &row.positions {
            Some(given) => positions.extend(std::iter::repeat_n(0, padding).chain(given.iter().copied())),
            None => {
                // A mask that goes from one to zero again is not padding: such a row counts from its first position.
                let left_padded = mask.is_sorted();
                let mut seen = 0;
                for (index, &one) in (0_i64..).zip(mask) {
                    seen += one;
                    positions.push(if left_padded { (seen - 1).max(0) } else { index });
                }
                needed |= left_padded && mask.first() == Some(&0);
            }
        }
    }
    batch.positions = needed.then_some(positions);
    batch
}

/// Returns the token that fills short rows: the checkpoint's, else its end of sequence, as nnsight sets it.
pub fn pad_token(tokenizer: &dyn Tokenizer) -> i64 {
    tokenizer.special("pad_token_id").or_else(|| tokenizer.special("eos_token_id")).unwrap_or(0)
}

/// Makes a `[rows, length]` int64 tensor.
///
/// # Errors
/// When the data does not fill the shape.
pub fn int_tensor<T: Tensor>(rows: i64, length: i64, data: Vec<i64>) -> Result<T, Raise> {
    shaped_tensor(vec![rows, length], &data)
}

/// Makes an int64 tensor of any shape.
///
/// # Errors
/// When the data does not fill the shape.
pub fn shaped_tensor<T: Tensor>(shape: Vec<i64>, data: &[i64]) -> Result<T, Raise> {
    let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    T::of_data(&TensorData { dtype: DType::Int64, shape, bytes, requires_grad: false })
}

/// Reads rows of token ids from a two-dimensional tensor or a list of sequences; `None` for a flat sequence.
///
/// # Errors
/// `TypeError` for anything that holds no integers.
pub fn id_rows<T: Tensor>(value: &Value) -> Result<Option<Vec<Vec<i64>>>, Raise> {
    if let Some(tensor) = T::of_value(value) {
        let shape = tensor.shape();
        if shape.len() < 2 {
            return Ok(None);
        }
        let ids = integers(&tensor.to_data()?)?;
        let length = shape.last().copied().and_then(|length| usize::try_from(length).ok()).unwrap_or(0).max(1);
        return Ok(Some(ids.chunks(length).map(<[i64]>::to_vec).collect()));
    }
    let Some(items) = python::sequence(value) else { return Ok(None) };
    let nested = items.iter().any(|item| {
        python::sequence(item).is_some() || T::of_value(item).is_some_and(|tensor| !tensor.shape().is_empty())
    });
    if !nested {
        return Ok(None);
    }
    let mut rows = Vec::with_capacity(items.len());
    for item in &items {
        match id_rows::<T>(item)? {
            Some(more) => rows.extend(more),
            None => rows.push(token_ids::<T>(item)?),
        }
    }
    Ok(Some(rows))
}

/// Reads one sequence of token ids, or a single id.
///
/// # Errors
/// `TypeError` for anything that holds no integers.
pub fn token_ids<T: Tensor>(value: &Value) -> Result<Vec<i64>, Raise> {
    if let Some(tensor) = T::of_value(value) {
        return integers(&tensor.to_data()?);
    }
    if let Some(id) = Value::as_int(value) {
        return Ok(vec![id]);
    }
    let bad = || {
        Raise::type_error(format!(
            "a language model takes text or token ids, not '{}'",
            interpreter::types::type_name(value)
        ))
    };
    let items = python::sequence(value).ok_or_else(bad)?;
    let mut ids = Vec::with_capacity(items.len());
    for item in &items {
        match Value::as_int(item) {
            Some(id) => ids.push(id),
            None => match T::of_value(item).map(|tensor| tensor.to_data()).transpose()? {
                Some(data) => ids.extend(integers(&data)?),
                None => return Err(bad()),
            },
        }
    }
    Ok(ids)
}

/// Reads the elements of an integer tensor.
fn integers(data: &TensorData) -> Result<Vec<i64>, Raise> {
    fn read<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> i64) -> Vec<i64> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect()
    }
    Ok(match data.dtype {
        DType::Int64 => read(&data.bytes, i64::from_le_bytes),
        DType::Int32 => read(&data.bytes, |bytes| i64::from(i32::from_le_bytes(bytes))),
        DType::Int16 => read(&data.bytes, |bytes| i64::from(i16::from_le_bytes(bytes))),
        DType::Int8 => read(&data.bytes, |bytes: [u8; 1]| i64::from(i8::from_le_bytes(bytes))),
        DType::UInt8 | DType::Bool => read(&data.bytes, |[byte]: [u8; 1]| i64::from(byte)),
        other => {
            return Err(Raise::type_error(format!("token ids must be integers, not torch.{}", other.name())));
        }
    })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = python::sequence(value)?;
    if items.is_empty() { None } else { items.iter().map(python::string).collect() }
}

fn mapping(value: &Value) -> Option<Vec<(Rc<str>, Value)>> {
    if let Some(output) = python::host::<ModelOutput>(value) {
        return Some(output.fields().into_iter().map(|(name, value)| (name.into(), value)).collect());
    }
    python::string_items(value)
}

/// Keyword arguments of a forward call that are split by row.
const ROW_FIELDS: [&str; 6] =
    ["input_ids", "attention_mask", "position_ids", "inputs_embeds", "token_type_ids", "labels"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_padded_on_the_left_and_keep_their_positions() {
        let batch = pad_left(&[Row::unpadded(vec![5]), Row::unpadded(vec![6, 7, 8])], 9);
        assert_eq!(batch.ids, [9, 9, 5, 6, 7, 8]);
        assert_eq!(batch.mask, [0, 0, 1, 1, 1, 1]);
        assert_eq!(batch.positions, Some(vec![0, 0, 0, 0, 1, 2]));
    }

    #[test]
    fn rows_of_one_length_need_no_positions() {
        let batch = pad_left(&[Row::unpadded(vec![1, 2]), Row::unpadded(vec![3, 4])], 9);
        assert_eq!((batch.rows, batch.length, batch.positions.clone(), batch.full()), (2, 2, None, true));
    }

    #[test]
    fn a_mask_with_a_gap_is_not_padding() {
        let row = Row { ids: vec![1, 2, 3], mask: vec![1, 0, 1], positions: None };
        assert_eq!(pad_left(&[row], 9).positions, None);
    }
}
