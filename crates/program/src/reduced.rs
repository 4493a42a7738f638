//! Classes of standard modules whose objects results may have: they are sent as what they are made from.

/// By module.
const CLASSES: [(&str, &[&str]); 6] = [
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"]),
    ("decimal", &["Decimal"]),
    ("fractions", &["Fraction"]),
    ("pathlib", &["PosixPath", "PurePosixPath"]),
    ("re", &["RegexFlag"]),
    ("types", &["SimpleNamespace"]),
];

/// Returns whether a class is one of these.
#[must_use]
pub fn is_reduced(module: &str, name: &str) -> bool {
    CLASSES.iter().any(|(known, names)| *known == module && names.contains(&name))
}
