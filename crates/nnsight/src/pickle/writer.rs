//! Writes pickles of protocol 4, opcode by opcode.

use std::collections::HashMap;

use num_bigint::BigInt;

use crate::pickle::opcode::*;

pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Memo entries made so far.
    memoized: u32,
    globals: HashMap<(String, String), u32>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![PROTO, 4], memoized: 0, globals: HashMap::new() }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.op(STOP);
        self.bytes
    }

    pub(crate) fn op(&mut self, op: u8) {
        self.bytes.push(op);
    }

    pub(crate) fn none(&mut self) {
        self.op(NONE);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.op(if value { NEWTRUE } else { NEWFALSE });
    }

    pub(crate) fn integer(&mut self, value: i64) {
        match (u8::try_from(value), u16::try_from(value), i32::try_from(value)) {
            (Ok(value), ..) => self.bytes.extend([BININT1, value]),
            (_, Ok(value), _) => self.with(BININT2, &value.to_le_bytes()),
            (.., Ok(value)) => self.with(BININT, &value.to_le_bytes()),
            _ => self.big(&BigInt::from(value)),
        }
    }

    pub(crate) fn big(&mut self, value: &BigInt) {
        if let Ok(small) = i32::try_from(value) {
            return self.integer(i64::from(small));
        }
        let digits = value.to_signed_bytes_le();
        match (u8::try_from(digits.len()), u32::try_from(digits.len())) {
            (Ok(length), _) => self.bytes.extend([LONG1, length]),
            // A number of 2 GiB has no pickle; none is that long.
            (_, length) => self.with(LONG4, &length.unwrap_or(u32::MAX).to_le_bytes()),
        }
        self.bytes.extend_from_slice(&digits);
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.with(BINFLOAT, &value.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.header(text.len(), SHORT_BINUNICODE, BINUNICODE, BINUNICODE8);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.raw_header(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes what comes before `length` bytes.
    pub(crate) fn raw_header(&mut self, length: usize) {
        self.header(length, SHORT_BINBYTES, BINBYTES, BINBYTES8);
    }

    /// Names a class or function. The caller has checked the name against a closed list.
    pub(crate) fn global(&mut self, module: &str, name: &str) {
        let key = (module.to_owned(), name.to_owned());
        if let Some(&index) = self.globals.get(&key) {
            return self.recall(index);
        }
        self.text(module);
        self.text(name);
        self.op(STACK_GLOBAL);
        let index = self.memoize();
        self.globals.insert(key, index);
    }

    /// Memoises the top of the stack.
    pub(crate) fn memoize(&mut self) -> u32 {
        self.op(MEMOIZE);
        let index = self.memoized;
        self.memoized += 1;
        index
    }

    pub(crate) fn recall(&mut self, index: u32) {
        match u8::try_from(index) {
            Ok(index) => self.bytes.extend([BINGET, index]),
            Err(_) => self.with(LONG_BINGET, &index.to_le_bytes()),
        }
    }

    /// Closes a tuple of `length` values that are on the stack, with a mark below them if there are more than three.
    pub(crate) fn tuple(&mut self, length: usize) {
        self.op(match length {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => TUPLE,
        });
    }

    pub(crate) fn integers(&mut self, values: &[i64]) {
        if values.len() > 3 {
            self.op(MARK);
        }
        values.iter().for_each(|&value| self.integer(value));
        self.tuple(values.len());
    }

    fn header(&mut self, length: usize, short: u8, medium: u8, long: u8) {
        match (u8::try_from(length), u32::try_from(length)) {
            (Ok(length), _) => self.bytes.extend([short, length]),
            (_, Ok(length)) => self.with(medium, &length.to_le_bytes()),
            _ => self.with(long, &(length as u64).to_le_bytes()),
        }
    }

    fn with(&mut self, op: u8, argument: &[u8]) {
        self.op(op);
        self.bytes.extend_from_slice(argument);
    }

    /// Takes what has been written so far, to be followed by bytes from elsewhere.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
