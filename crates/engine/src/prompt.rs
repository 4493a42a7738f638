//! What a trace is given, turned into the rows of a batch.

use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::{Machine, Value};
use program::{DType, TensorData};

use crate::batch_encoding::BatchEncoding;
use crate::chat::{self, Chat};
use crate::encoding::{How, Source, Text};
use crate::job::JobState;
use crate::model::{Model, Tensor, Tokenizer};
use crate::output::ModelOutput;
use crate::python;
use crate::tokenizer::TokenizerArguments;

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

    /// Replaces the mask and the positions by what stood beside text. As in Hugging Face's models, what a mask does not
    /// reach is hidden, and what it has too much of counts for nothing.
    ///
    /// # Errors
    /// `ValueError` for another number of rows or positions than the batch has.
    pub fn replace(&mut self, beside: Beside) -> Result<(), Raise> {
        let (rows, length) = (self.rows, self.length);
        let flat = |name: &str, given: Vec<Vec<i64>>| -> Result<Vec<i64>, Raise> {
            let fits = |count: usize, expected: i64| i64::try_from(count).is_ok_and(|count| count == expected);
            if !fits(given.len(), rows) || !given.iter().all(|row| fits(row.len(), length)) {
                return Err(Raise::value_error(format!(
                    "`{name}` has shape [{}, {}], but the batch has {rows} rows of {length} tokens",
                    given.len(),
                    given.first().map_or(0, Vec::len)
                )));
            }
            Ok(given.concat())
        };
        if let Some(mut mask) = beside.mask {
            let length = usize::try_from(length).unwrap_or(0);
            mask.iter_mut().for_each(|row| row.resize(length, 0));
            self.mask = flat("attention_mask", mask)?;
        }
        if let Some(mut positions) = beside.positions {
            if let ([one], true) = (positions.as_slice(), rows > 1) {
                positions = vec![one.clone(); usize::try_from(rows).unwrap_or(1)];
            }
            self.positions = Some(flat("position_ids", positions)?);
        }
        Ok(())
    }

    /// Makes so many rows of each, side by side.
    pub fn repeat(&mut self, copies: usize) {
        let length = usize::try_from(self.length).unwrap_or(0).max(1);
        let each = |all: &[i64]| all.chunks(length).flat_map(|row| row.repeat(copies)).collect::<Vec<_>>();
        (self.ids, self.mask) = (each(&self.ids), each(&self.mask));
        self.positions = self.positions.as_deref().map(each);
        self.rows *= i64::try_from(copies).unwrap_or(i64::MAX);
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
    /// What stands beside text, and so is for the batch as it is once padded.
    pub beside: Beside,
}

/// A mask or positions given beside text: they replace those that the batch has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    pub mask: Option<Vec<Vec<i64>>>,
    pub positions: Option<Vec<Vec<i64>>>,
}

/// Reads what an invoke was given: text, texts, token ids in any form, or an encoding. No rows means no input at all.
///
/// # Errors
/// `TypeError` or `ValueError` for input that a language model does not take, `OutOfMemoryError` for text that is longer
/// than any pass of the job may be.
pub fn read<M: Model>(
    job: &JobState<M>,
    machine: &Machine,
    args: &[Value],
    kwargs: &[(Rc<str>, Value)],
) -> Result<Prompt, Raise> {
    let chats = args.first().and_then(chat::conversations);
    let text = match &chats {
        Some((chats, _)) => Some(rendered(job, machine, chats, kwargs)?),
        None => args.first().filter(|data| mapping(data).is_none()).and_then(texts),
    };
    let (mut rest, mut fields) = match (&text, args.first().and_then(mapping)) {
        (Some(_), _) => separate(after_tokenizing(kwargs)?),
        (None, Some(pairs)) => separate(pairs.iter().chain(kwargs).cloned()),
        (None, None) => separate(kwargs.iter().cloned()),
    };
    let data = args.first().filter(|data| !matches!(data, Value::None) && text.is_none() && mapping(data).is_none());
    if let Some(data) = data {
        fields.retain(|(name, _)| &**name != "input_ids");
        fields.insert(0, ("input_ids".into(), data.clone()));
    }
    let past = rest.iter().any(|(name, value)| &**name == "past_key_values" && !matches!(value, Value::None));
    let (whole, fields): (Keywords, Keywords) = fields
        .into_iter()
        .partition(|(name, value)| is_whole::<M::Tensor>(name, value) || past && &**name == "attention_mask");
    let embedded = whole.iter().find(|(name, _)| &**name == "inputs_embeds").map(|(_, value)| value.clone());
    rest.extend(whole);
    if let Some((other, _)) = fields.iter().find(|(name, _)| !READ.contains(&&**name)) {
        return Err(Raise::value_error(format!("`{other}` as input is not supported by this server")));
    }
    let rows_of = |name: &str| -> Result<Option<Vec<Vec<i64>>>, Raise> {
        let Some((_, value)) = fields.iter().find(|(field, _)| &**field == name) else { return Ok(None) };
        let rows = id_rows::<M::Tensor>(machine, value)?;
        rows.map_or_else(|| token_ids::<M::Tensor>(machine, value).map(|row| vec![row]), Ok).map(Some)
    };
    let (ids, mask, positions) = (rows_of("input_ids")?, rows_of("attention_mask")?, rows_of("position_ids")?);
    let mut prompt = Prompt { rows: Vec::new(), rest, beside: Beside::default() };
    match (text, ids) {
        (Some(_), Some(_)) => return Err(Raise::value_error("give either a prompt or input_ids, not both")),
        (Some(texts), None) => {
            prompt.rows = encode(job, machine, &texts, kwargs, chats.is_some())?;
            if let Some(length) = prefix_length(job, machine, kwargs)? {
                prompt.rest.push(("prefix_length".into(), Value::Int(length)));
            }
            prompt.beside = Beside { mask, positions };
            if past && !prompt.rest.iter().any(|(name, _)| &**name == "attention_mask") {
                let mask = mask_of::<M::Tensor>(&prompt.rows)?.to_value(machine);
                prompt.rest.push(("attention_mask".into(), mask));
            }
        }
        (None, ids) => {
            let ids = match (ids, &embedded) {
                (Some(_), Some(_)) => {
                    return Err(Raise::value_error("You must specify exactly one of input_ids or inputs_embeds"));
                }
                (ids, Some(embedded)) => ids.or(rows_embedded::<M::Tensor>(embedded)?),
                (ids, None) => ids,
            };
            prompt.rows = ids.unwrap_or_default().into_iter().map(Row::unpadded).collect();
            for (name, given) in [("attention_mask", mask), ("position_ids", positions)] {
                if let Some(given) = given {
                    split(&mut prompt.rows, name, given)?;
                }
            }
        }
    }
    if prompt.rows.iter().any(|row| row.ids.is_empty()) {
        return Err(Raise::value_error("the input has no tokens"));
    }
    Ok(prompt)
}

/// Returns whether an argument is for the batch as it is, and not for its rows: tensors that the model takes whole.
pub fn is_whole<T: Tensor>(name: &str, value: &Value) -> bool {
    let dimensions = |count: usize| T::of_value(value).is_some_and(|tensor| tensor.shape().len() == count);
    match name {
        "inputs_embeds" | "labels" | "past_key_values" => !matches!(value, Value::None),
        "attention_mask" => dimensions(4),
        "logits_to_keep" => dimensions(1),
        _ => false,
    }
}

/// Returns the mask that text is given, which is for its own tokens alone.
fn mask_of<T: Tensor>(rows: &[Row]) -> Result<T, Raise> {
    let length = rows.first().map_or(0, |row| row.mask.len());
    if rows.iter().any(|row| row.mask.len() != length) {
        let message =
            "texts of several lengths after `past_key_values` are not supported by this server: give token ids";
        return Err(Raise::value_error(message));
    }
    let data = rows.iter().flat_map(|row| row.mask.iter().copied()).collect();
    int_tensor(rows.len().try_into().unwrap_or(i64::MAX), length.try_into().unwrap_or(i64::MAX), data)
}

/// Makes rows of as many tokens as there are embeddings: nobody looks which they are.
fn rows_embedded<T: Tensor>(embedded: &Value) -> Result<Option<Vec<Vec<i64>>>, Raise> {
    let shape = T::of_value(embedded).map(|tensor| tensor.shape()).unwrap_or_default();
    let &[rows, length, _] = shape.as_slice() else {
        return Err(Raise::value_error("`inputs_embeds` has to be a tensor of rows, tokens and their embeddings"));
    };
    let [rows, length] = [rows, length].map(|size| usize::try_from(size).unwrap_or(0));
    Ok(Some(vec![vec![0; length]; rows]))
}

/// Gives each row its part of a field.
fn split(rows: &mut [Row], name: &str, given: Vec<Vec<i64>>) -> Result<(), Raise> {
    let count = rows.len();
    if given.len() != count && !(given.len() == 1 && name == "position_ids") {
        return Err(Raise::value_error(format!("`{name}` has {} rows, but `input_ids` has {count}.", given.len())));
    }
    for (index, row) in rows.iter_mut().enumerate() {
        let mut values = given.get(index).or_else(|| given.first()).cloned().unwrap_or_default();
        if name == "attention_mask" {
            values.resize(row.ids.len(), 0);
        }
        if values.len() != row.ids.len() {
            return Err(Raise::value_error(format!(
                "`{name}` has {} positions for a row of {} tokens.",
                values.len(),
                row.ids.len()
            )));
        }
        if name == "attention_mask" {
            row.mask = values;
        } else {
            row.positions = Some(values);
        }
    }
    Ok(())
}

/// Keyword arguments, in order.
type Keywords = Vec<(Rc<str>, Value)>;

/// Sorts arguments into those that are not split by row and those that are; of each name, the last.
fn separate(pairs: impl IntoIterator<Item = (Rc<str>, Value)>) -> (Keywords, Keywords) {
    let (mut rest, mut fields) = (Keywords::new(), Keywords::new());
    for (name, value) in pairs {
        let list = if ROW_FIELDS.contains(&&*name) && !matches!(value, Value::None) { &mut fields } else { &mut rest };
        list.retain(|(other, _)| *other != name);
        list.push((name, value));
    }
    (rest, fields)
}

/// Makes text of conversations, as the text-generation pipeline does.
fn rendered<M: Model>(
    job: &JobState<M>,
    machine: &Machine,
    chats: &[Value],
    kwargs: &[(Rc<str>, Value)],
) -> Result<Vec<String>, Raise> {
    let given = |name: &str| kwargs.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    let continues = match given("continue_final_message") {
        Some(Value::Bool(flag)) => Some(*flag),
        _ => None,
    };
    let tokenizer = job.model.tokenizer();
    chats.iter().map(|chat| Chat::of_pipeline(chat, continues).render(&*tokenizer, machine, chat)).collect()
}

/// Encodes prompts, each by itself, with the arguments that the text-generation pipeline hands to the tokenizer.
fn encode<M: Model>(
    job: &JobState<M>,
    machine: &Machine,
    texts: &[String],
    kwargs: &[(Rc<str>, Value)],
    chat: bool,
) -> Result<Vec<Row>, Raise> {
    const HANDED_ON: [&str; 4] = ["add_special_tokens", "truncation", "padding", "max_length"];
    let tokenizer = job.model.tokenizer();
    let mut all: Vec<(Rc<str>, Value)> = kwargs
        .iter()
        .filter(|(name, value)| HANDED_ON.contains(&&**name) && !matches!(value, Value::None))
        .cloned()
        .collect();
    let given = |name: &str| kwargs.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    let more = given("tokenizer_encode_kwargs").and_then(python::string_items).unwrap_or_default();
    let pair = more.iter().find(|(name, _)| &**name == "text_pair").map(|(_, value)| value.clone());
    for (name, value) in more {
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
    }
    if chat {
        // Its template has them.
        all.retain(|(name, _)| &**name != "add_special_tokens");
        all.push(("add_special_tokens".into(), Value::Bool(false)));
    }
    let arguments = TokenizerArguments::read(&*tokenizer, &all)?;
    let prefix = given("prefix").filter(|_| !chat).and_then(python::string).unwrap_or_default();
    let how = How { offsets: false, ..arguments.how.clone() };
    let mut rows = Vec::with_capacity(texts.len());
    for text in texts {
        let (sources, _) = arguments.sources(&Value::string(format!("{prefix}{text}")), pair.as_ref())?;
        if how.truncation.is_none() {
            sources.iter().try_for_each(|source| bound(job, machine, source.bytes()))?;
        }
        let encodings = tokenizer.encode(machine, &sources, &how)?;
        for encoding in encodings {
            let wide = |numbers: &[u32]| numbers.iter().map(|&number| i64::from(number)).collect::<Vec<_>>();
            let mut row = Row::unpadded(wide(&encoding.ids));
            if arguments.attention_mask {
                row.mask = wide(&encoding.attention_mask);
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Returns the tokens of a prompt's prefix, which the pipeline leaves among the arguments.
fn prefix_length<M: Model>(
    job: &JobState<M>,
    machine: &Machine,
    kwargs: &[(Rc<str>, Value)],
) -> Result<Option<i64>, Raise> {
    let given = |name: &str| kwargs.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    let Some(prefix) = given("prefix").and_then(python::string).filter(|prefix| !prefix.is_empty()) else {
        return Ok(None);
    };
    let special_tokens = matches!(given("add_special_tokens"), Some(Value::Bool(true)));
    let source = Source { text: Text::Whole(prefix), pair: None };
    bound(job, machine, source.bytes())?;
    let encodings = job.model.tokenizer().encode(machine, &[source], &How { special_tokens, ..How::default() })?;
    Ok(encodings.first().and_then(|one| i64::try_from(one.ids.len()).ok()))
}

/// Refuses text that makes more tokens than a pass may have, whatever they are, before any time is spent on it.
fn bound<M: Model>(job: &JobState<M>, machine: &Machine, bytes: usize) -> Result<(), Raise> {
    let Some(longest) = job.model.tokenizer().longest_token() else { return Ok(()) };
    let least = i64::try_from(bytes / longest.max(1)).unwrap_or(i64::MAX);
    if job.model.positions().is_some_and(|positions| least > positions) {
        return Err(out_of_range());
    }
    // No token takes less of a longer pass.
    let (one, limit) = (job.model.pass_bytes(1, 1, 1, job.attention), machine.limits().tensor_bytes);
    let needed = one.saturating_mul(u64::try_from(least).unwrap_or(u64::MAX));
    if needed > limit { Err(too_large(1, least, least, needed, limit)) } else { Ok(()) }
}

/// The error of a lookup in an embedding that has no such row, as PyTorch words it.
pub fn out_of_range() -> Raise {
    Raise::index_error("index out of range in self")
}

/// The error that PyTorch would come to, before anything is computed.
pub fn too_large(rows: i64, length: i64, total: i64, bytes: u64, limit: u64) -> Raise {
    let grown = if total > length { format!(", grown to {total}") } else { String::new() };
    let [bytes, limit] = [bytes, limit].map(|bytes| match bytes {
        0..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    });
    let message = format!(
        "a forward pass over {rows} rows of {length} tokens{grown} takes about {bytes} on this server, where a job may \
         have {limit}: send fewer rows at a time, or shorter ones"
    );
    Raise::named("torch.OutOfMemoryError", Kind::RuntimeError, message)
}

/// Returns the arguments that are left for the model when a prompt is text: the pipeline takes its own.
fn after_tokenizing(kwargs: &[(Rc<str>, Value)]) -> Result<Vec<(Rc<str>, Value)>, Raise> {
    let mut rest = Vec::with_capacity(kwargs.len());
    for (name, value) in kwargs {
        let none = matches!(value, Value::None);
        match &**name {
            "tools" | "documents" if !none => {
                return Err(Raise::value_error(format!(
                    "`{name}` is not supported by this server: put it into the messages"
                )));
            }
            "handle_long_generation" if !none => {
                return Err(match python::string(value).as_deref() {
                    Some("hole") => Raise::value_error(
                        "`handle_long_generation` is not supported by this server: shorten the prompt",
                    ),
                    _ => Raise::value_error(format!(
                        "{} is not a valid value for `handle_long_generation` parameter expected [None, 'hole']",
                        interpreter::format::repr_now(value).unwrap_or_default().trim_matches('\'')
                    )),
                });
            }
            "prefix" if !none && python::string(value).is_none() => {
                return Err(Raise::type_error("`prefix` has to be text"));
            }
            "stop_sequence" if !none => {
                let strings =
                    if python::string(value).is_some() { Value::list(vec![value.clone()]) } else { value.clone() };
                rest.push(("stop_strings".into(), strings));
            }
            _ if OF_PIPELINE.contains(&&**name) => {}
            _ => rest.push((Rc::clone(name), value.clone())),
        }
    }
    Ok(rest)
}

/// What the text-generation pipeline takes for itself: for the tokenizer, or for what it makes of the result, which is
/// not made here.
const OF_PIPELINE: [&str; 16] = [
    "add_special_tokens",
    "truncation",
    "padding",
    "tokenizer_encode_kwargs",
    "prefix",
    "handle_long_generation",
    "continue_final_message",
    "tools",
    "documents",
    "stop_sequence",
    "return_full_text",
    "return_tensors",
    "return_text",
    "return_type",
    "clean_up_tokenization_spaces",
    "skip_special_tokens",
];

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
pub fn id_rows<T: Tensor>(machine: &Machine, value: &Value) -> Result<Option<Vec<Vec<i64>>>, Raise> {
    let value = &listed::<T>(machine, value)?;
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
        match id_rows::<T>(machine, item)? {
            Some(more) => rows.extend(more),
            None => rows.push(token_ids::<T>(machine, item)?),
        }
    }
    Ok(Some(rows))
}

/// Reads one sequence of token ids, or a single id.
///
/// # Errors
/// `TypeError` for anything that holds no integers.
pub fn token_ids<T: Tensor>(machine: &Machine, value: &Value) -> Result<Vec<i64>, Raise> {
    let value = &listed::<T>(machine, value)?;
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
        match T::of_value(item).map(|tensor| tensor.to_data()).transpose()? {
            Some(data) => ids.extend(integers(&data)?),
            None => ids.push(Value::as_int(&listed::<T>(machine, item)?).ok_or_else(bad)?),
        }
    }
    Ok(ids)
}

/// Shows what holds numbers but is no tensor of the model's, a numpy array or scalar, as the lists that it stands for.
fn listed<T: Tensor>(machine: &Machine, value: &Value) -> Result<Value, Raise> {
    let Value::Host(host) = value else { return Ok(value.clone()) };
    if T::of_value(value).is_some() || !host.is_instance("numpy.ndarray") && !host.is_instance("numpy.generic") {
        return Ok(value.clone());
    }
    let method = python::now(machine.get_attribute(value, "tolist"))?;
    python::now(machine.call(&method, interpreter::Args::default()))
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

/// Returns the prompts where they are text.
pub fn texts(value: &Value) -> Option<Vec<String>> {
    if let Some(text) = python::string(value) {
        return Some(vec![text]);
    }
    let items = python::sequence(value)?;
    if items.is_empty() { None } else { items.iter().map(python::string).collect() }
}

fn mapping(value: &Value) -> Option<Vec<(Rc<str>, Value)>> {
    if let Some(encoding) = python::host::<BatchEncoding>(value) {
        return python::string_items(&Value::Dict(Rc::clone(encoding.data())));
    }
    if let Some(output) = python::host::<ModelOutput>(value) {
        return Some(output.fields().into_iter().map(|(name, value)| (name.into(), value)).collect());
    }
    python::string_items(value)
}

/// Keyword arguments of a forward call that are split by row, and those of them that are read.
const ROW_FIELDS: [&str; 6] =
    ["input_ids", "attention_mask", "position_ids", "inputs_embeds", "token_type_ids", "labels"];
const READ: [&str; 3] = ["input_ids", "attention_mask", "position_ids"];

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
