//! What is known of a value without computing it: its type, and how large it is.

use std::fmt::{self, Display, Formatter};

use program::DType;
use serde::{Deserialize, Serialize};

/// The structure of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Form {
    #[default]
    Unknown,
    None,
    /// A number or a truth value of Python.
    Scalar,
    Tensor(DType, Vec<Size>),
    Tuple(Vec<Form>),
    /// A record by its class, with the fields that it has.
    Record(String, Vec<(String, Form)>),
}

/// The size of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Size {
    Fixed(i64),
    /// As many as the batch has rows.
    Rows,
    /// As many as each row has tokens.
    Length,
    Unknown,
}

/// What the sizes of a pass are, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub rows: Option<i64>,
    pub length: Option<i64>,
}

impl Form {
    /// Returns the form with the sizes of a pass filled in.
    #[must_use]
    pub fn within(&self, extent: Extent) -> Self {
        let known = |size: Option<i64>| size.map_or(Size::Unknown, Size::Fixed);
        match self {
            Self::Tensor(dtype, shape) => {
                let size = |size: &Size| match size {
                    Size::Rows => known(extent.rows),
                    Size::Length => known(extent.length),
                    other => *other,
                };
                Self::Tensor(*dtype, shape.iter().map(size).collect())
            }
            Self::Tuple(items) => Self::Tuple(items.iter().map(|item| item.within(extent)).collect()),
            Self::Record(class, fields) => {
                let fields = fields.iter().map(|(name, field)| (name.clone(), field.within(extent)));
                Self::Record(class.clone(), fields.collect())
            }
            other => other.clone(),
        }
    }

    /// Returns the bytes of its tensors; `None` where a size is not known.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::None => Some(0),
            Self::Scalar => Some(8),
            Self::Tensor(dtype, shape) => {
                let sizes = shape.iter().map(|size| match size {
                    Size::Fixed(size) => u64::try_from(*size).ok(),
                    _ => None,
                });
                sizes.into_iter().try_fold(dtype.size() as u64, |product, size| product.checked_mul(size?))
            }
            Self::Tuple(items) => items.iter().try_fold(0_u64, |sum, item| sum.checked_add(item.bytes()?)),
            Self::Record(_, fields) => fields.iter().try_fold(0_u64, |sum, (_, field)| sum.checked_add(field.bytes()?)),
        }
    }

    /// Returns what two ways come to, where they agree.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Tensor(dtype, left), Self::Tensor(same, right)) if dtype == same && left.len() == right.len() => {
                let sizes = left.iter().zip(right);
                let sizes = sizes.map(|(left, right)| if left == right { *left } else { Size::Unknown });
                Self::Tensor(*dtype, sizes.collect())
            }
            (left, right) if left == right => left.clone(),
            _ => Self::Unknown,
        }
    }
}

impl Display for Form {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::None => f.write_str("None"),
            Self::Scalar => f.write_str("a number"),
            Self::Tensor(dtype, shape) => {
                let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                write!(f, "{} [{}]", dtype.name(), sizes.join(", "))
            }
            Self::Tuple(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "({})", items.join(", "))
            }
            Self::Record(_, fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, field)| format!("{name}: {field}")).collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Rows => f.write_str("rows"),
            Self::Length => f.write_str("tokens"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_where_all_sizes_are() {
        let logits = Form::Tensor(DType::Float32, vec![Size::Rows, Size::Length, Size::Fixed(10)]);
        assert_eq!(logits.bytes(), None);
        let shown = logits.within(Extent { rows: Some(2), length: Some(3) });
        assert_eq!((shown.bytes(), shown.to_string().as_str()), (Some(240), "float32 [2, 3, 10]"));
        let some = logits.within(Extent { rows: Some(2), length: None });
        assert_eq!((some.bytes(), some.to_string().as_str()), (None, "float32 [2, ?, 10]"));
        let huge = Form::Tensor(DType::Float32, vec![Size::Fixed(i64::MAX); 3]);
        assert_eq!(huge.bytes(), None);
        assert_eq!(Form::Tuple(vec![shown.clone(), Form::None]).bytes(), Some(240));
        assert_eq!(shown.or(&some), some);
    }
}
