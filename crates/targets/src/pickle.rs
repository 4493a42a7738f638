//! Pickles, written as Python's pickler would.

pub fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [b"X".as_slice(), &length.to_le_bytes(), text.as_bytes()].concat()
}

pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [b"B".as_slice(), &length.to_le_bytes(), bytes].concat()
}

pub fn int(number: i64) -> Vec<u8> {
    [[0x8a, 8].as_slice(), &number.to_le_bytes()].concat()
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"](".to_vec(), items.concat(), b"e".to_vec()].concat()
}

pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    [b"}(".to_vec(), entries, b"u".to_vec()].concat()
}

/// A call, with its arguments.
pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(arguments), b"R".to_vec()].concat()
}

/// An object of a class, with its state.
pub fn object(module: &str, name: &str, state: Vec<u8>) -> Vec<u8> {
    [global(module, name), b")\x81".to_vec(), state, b"b".to_vec()].concat()
}
