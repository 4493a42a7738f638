//! GGUF version 3: metadata, and tensors in blocks of few bits.
//!
//! The file comes from outside: every length is checked against what is left before anything is allocated for it.

mod format;

pub use format::Format;

/// What a GGUF file says, over its bytes.
pub struct Gguf<'a> {
    pub metadata: Vec<(String, Metadata)>,
    pub tensors: Vec<Info<'a>>,
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Metadata {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Metadata>),
}

/// A tensor: its name, its shape with the slowest dimension first, and its blocks.
#[derive(Debug)]
pub struct Info<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub format: Format,
    pub blocks: &'a [u8],
}

/// Says what is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Metadata lists may hold lists; nothing known nests deeper than two.
const NESTING: u32 = 4;
/// Elements of all lists together: a hundred times what a large vocabulary needs.
const LIST_ELEMENTS: u64 = 50_000_000;
const DIMENSIONS: u32 = 4;

impl<'a> Gguf<'a> {
    /// Reads a file's metadata and finds its tensors.
    ///
    /// # Errors
    /// When the file is no GGUF version 3, ends early, or holds a format that is not supported.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader { bytes, at: 0, elements: LIST_ELEMENTS };
        if reader.take(4)? != b"GGUF" {
            return Err(Error("it does not begin with GGUF".into()));
        }
        let version = reader.u32()?;
        if version != 3 {
            return Err(Error(format!("it is GGUF version {version}; version 3 is supported")));
        }
        let tensor_count = reader.count(24)?;
        let metadata_count = reader.count(13)?;
        let mut metadata = Vec::with_capacity(metadata_count);
        for _ in 0..metadata_count {
            let key = reader.text()?;
            let kind = reader.u32()?;
            metadata.push((key, reader.value(kind, NESTING)?));
        }
        let mut found = Vec::with_capacity(tensor_count);
        for _ in 0..tensor_count {
            found.push(reader.info()?);
        }
        let alignment = metadata.iter().find(|(key, _)| key == "general.alignment");
        let alignment = alignment.and_then(|(_, value)| value.size()).unwrap_or(32).max(1);
        let start = reader.at.checked_next_multiple_of(alignment).ok_or_else(cut_off)?;
        let data = bytes.get(start..).ok_or_else(cut_off)?;
        let tensors = found.into_iter().map(|found| found.locate(data)).collect::<Result<_, _>>()?;
        Ok(Self { metadata, tensors })
    }

    /// Returns a metadata value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Metadata> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl Metadata {
    /// Returns a number that is no less than zero and fits memory.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Unsigned(number) => usize::try_from(*number).ok(),
            Self::Signed(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Returns any number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Unsigned(number) => Some(*number as f64),
            Self::Signed(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Metadata]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

impl Info<'_> {
    /// Returns the elements in row-major order.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let (_, bytes) = self.format.block();
        let mut values = Vec::with_capacity(self.shape.iter().product());
        for block in self.blocks.chunks_exact(bytes) {
            self.format.decode(block, &mut values);
        }
        values
    }
}

/// A tensor whose data has not been looked for.
struct Found {
    name: String,
    shape: Vec<usize>,
    format: Format,
    offset: usize,
}

impl Found {
    fn locate(self, data: &[u8]) -> Result<Info<'_>, Error> {
        let wrong = |reason: &str| Error(format!("tensor {}: {reason}", self.name));
        let elements = self.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let elements = elements.ok_or_else(|| wrong("its shape is too large"))?;
        let (block, bytes) = self.format.block();
        // Blocks never run over the end of a row.
        if self.shape.last().is_some_and(|row| row % block != 0) {
            return Err(wrong("its rows are no whole number of blocks"));
        }
        let size = (elements / block).checked_mul(bytes).ok_or_else(|| wrong("its shape is too large"))?;
        let end = self.offset.checked_add(size).ok_or_else(|| wrong("its offset is too large"))?;
        let blocks = data.get(self.offset..end).ok_or_else(|| wrong("the file ends before its data does"))?;
        Ok(Info { name: self.name, shape: self.shape, format: self.format, blocks })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// List elements that may still be read.
    elements: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count).ok_or_else(cut_off)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(cut_off)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| cut_off())
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a count of things that take at least `bytes` each, so that it cannot exceed what is left.
    fn count(&mut self, bytes: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.u64()?).map_err(|_| cut_off())?;
        let left = self.bytes.len() - self.at;
        if count > left / bytes { Err(cut_off()) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<String, Error> {
        let length = self.count(1)?;
        let text = self.take(length)?;
        // Tokens of byte-fallback vocabularies may be no UTF-8 by themselves.
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn value(&mut self, kind: u32, nesting: u32) -> Result<Metadata, Error> {
        Ok(match kind {
            0 => Metadata::Unsigned(u64::from(u8::from_le_bytes(self.array()?))),
            1 => Metadata::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Metadata::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Metadata::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Metadata::Unsigned(u64::from(self.u32()?)),
            5 => Metadata::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Metadata::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Metadata::Bool(u8::from_le_bytes(self.array()?) != 0),
            8 => Metadata::Text(self.text()?),
            9 => self.list(nesting)?,
            10 => Metadata::Unsigned(self.u64()?),
            11 => Metadata::Signed(i64::from_le_bytes(self.array()?)),
            12 => Metadata::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(Error(format!("metadata type {other} is unknown"))),
        })
    }

    fn list(&mut self, nesting: u32) -> Result<Metadata, Error> {
        let nesting = nesting.checked_sub(1).ok_or_else(|| Error("metadata lists nest too deep".into()))?;
        let kind = self.u32()?;
        let count = self.count(1)?;
        let left = self.elements.checked_sub(count as u64);
        self.elements = left.ok_or_else(|| Error("metadata lists are too long".into()))?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.value(kind, nesting)?);
        }
        Ok(Metadata::List(list))
    }

    fn info(&mut self) -> Result<Found, Error> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions == 0 || dimensions > DIMENSIONS {
            return Err(Error(format!("tensor {name}: it has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size =
                usize::try_from(self.u64()?).map_err(|_| Error(format!("tensor {name}: its shape is too large")))?;
            shape.push(size);
        }
        shape.reverse();
        let code = self.u32()?;
        let format = Format::of_code(code).map_err(|reason| Error(format!("tensor {name}: {reason}")))?;
        let offset = usize::try_from(self.u64()?).map_err(|_| cut_off())?;
        Ok(Found { name, shape, format, offset })
    }
}

fn cut_off() -> Error {
    Error("it is truncated".into())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Metadata;

    /// Writes the beginning of a GGUF file.
    pub fn file(tensors: u64, metadata: u64) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(metadata.to_le_bytes());
        bytes
    }

    pub fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }

    /// Writes a key and its value.
    pub fn metadata(bytes: &mut Vec<u8>, key: &str, value: &Metadata) {
        text(bytes, key);
        bytes.extend(kind(value).to_le_bytes());
        write(bytes, value);
    }

    fn kind(value: &Metadata) -> u32 {
        match value {
            Metadata::Unsigned(_) => 10,
            Metadata::Signed(_) => 11,
            Metadata::Float(_) => 6,
            Metadata::Bool(_) => 7,
            Metadata::Text(_) => 8,
            Metadata::List(_) => 9,
        }
    }

    fn write(bytes: &mut Vec<u8>, value: &Metadata) {
        match value {
            Metadata::Unsigned(number) => bytes.extend(number.to_le_bytes()),
            Metadata::Signed(number) => bytes.extend(number.to_le_bytes()),
            Metadata::Float(number) => bytes.extend((*number as f32).to_le_bytes()),
            Metadata::Bool(flag) => bytes.push(u8::from(*flag)),
            Metadata::Text(own) => text(bytes, own),
            Metadata::List(list) => {
                bytes.extend(list.first().map_or(8, kind).to_le_bytes());
                bytes.extend((list.len() as u64).to_le_bytes());
                list.iter().for_each(|value| write(bytes, value));
            }
        }
    }

    pub fn info(bytes: &mut Vec<u8>, name: &str, fastest_first: &[u64], format: u32, offset: u64) {
        text(bytes, name);
        bytes.extend((fastest_first.len() as u32).to_le_bytes());
        fastest_first.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.extend(format.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }

    pub fn pad(bytes: &mut Vec<u8>) {
        bytes.resize(bytes.len().next_multiple_of(32), 0);
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::testing::{file, info, pad, text};
    use super::*;

    fn two_tensors() -> Vec<u8> {
        let mut bytes = file(2, 1);
        text(&mut bytes, "general.name");
        bytes.extend(8_u32.to_le_bytes());
        text(&mut bytes, "x");
        info(&mut bytes, "four", &[32, 1], 3, 0);
        info(&mut bytes, "eight", &[32], 8, 32);
        pad(&mut bytes);
        bytes.extend(f16::from_f32(0.5).to_le_bytes());
        bytes.extend(f16::from_f32(-1.25).to_le_bytes());
        bytes.extend((0..16_u8).map(|index| index | (15 - index) << 4));
        pad(&mut bytes);
        bytes.extend(f16::from_f32(0.1).to_le_bytes());
        bytes.extend((0..32_i8).map(|index| (index - 16).cast_unsigned()));
        bytes
    }

    #[test]
    fn blocks_are_decoded_bit_for_bit() {
        let bytes = two_tensors();
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!(gguf.get("general.name").and_then(Metadata::text), Some("x"));
        let [four, eight] = gguf.tensors.as_slice() else { panic!("two tensors") };
        assert_eq!((four.shape.as_slice(), eight.shape.as_slice()), ([1, 32].as_slice(), [32].as_slice()));
        let expected: Vec<f32> =
            (0..32).map(|index| if index < 16 { index } else { 31 - index }).map(|q| q as f32 * 0.5 - 1.25).collect();
        assert_eq!(four.values(), expected);
        let scale = f16::from_f32(0.1).to_f32();
        assert_eq!(eight.values(), (-16..16).map(|q| q as f32 * scale).collect::<Vec<_>>());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = two_tensors();
        for length in 0..bytes.len() {
            assert!(Gguf::parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn no_flipped_byte_panics() {
        let bytes = two_tensors();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(gguf) = Gguf::parse(&damaged) {
                    gguf.tensors
                        .iter()
                        .for_each(|info| assert_eq!(info.values().len(), info.shape.iter().product::<usize>()));
                }
            }
        }
    }

    #[test]
    fn lists_within_lists_end() {
        let mut bytes = file(0, 1);
        text(&mut bytes, "deep");
        bytes.extend(9_u32.to_le_bytes());
        for _ in 0..100 {
            bytes.extend(9_u32.to_le_bytes());
            bytes.extend(1_u64.to_le_bytes());
        }
        bytes.extend([0; 64]);
        assert_eq!(Gguf::parse(&bytes).err().unwrap().to_string(), "metadata lists nest too deep");
    }
}
