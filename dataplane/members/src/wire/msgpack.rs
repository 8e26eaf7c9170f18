//! The part of msgpack that memberlist uses, in its dialect.
//!
//! Byte strings and strings are both of the *str* family, without `str 8`: at most 31 bytes in `fixstr`, then `str 16`,
//! then `str 32`. A missing byte string is nil. Structures are maps by field name, in alphabetic order. On decoding every
//! width of integers and the *bin* family are accepted too, and unknown fields are skipped.

use super::Refusal;

/// Deepest nesting of values that are skipped.
const MAX_DEPTH: usize = 16;

/// Writes values.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn starting_with(first: u8) -> Self {
        Self(vec![first])
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Begins a map; at most 15 fields.
    pub(crate) fn map(&mut self, fields: u8) -> &mut Self {
        self.0.push(0x80 | (fields & 0x0f));
        self
    }

    pub(crate) fn number(&mut self, name: &str, value: u32) -> &mut Self {
        self.raw(name.as_bytes());
        let [a, b, c, d] = value.to_be_bytes();
        match value {
            0..=0x7f => self.0.push(d),
            0x80..=0xff => self.0.extend([0xcc, d]),
            0x100..=0xffff => self.0.extend([0xcd, c, d]),
            _ => self.0.extend([0xce, a, b, c, d]),
        }
        self
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name.as_bytes());
        self.0.push(if value { 0xc3 } else { 0xc2 });
        self
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name.as_bytes());
        self.raw(value.as_bytes());
        self
    }

    /// A byte string; nil when it is empty, as Go has it for a slice that was never set.
    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.raw(name.as_bytes());
        if value.is_empty() {
            self.0.push(0xc0);
        } else {
            self.raw(value);
        }
        self
    }

    fn raw(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let [a, b, c, d] = len.to_be_bytes();
        match len {
            0..=31 => self.0.push(0xa0 | d),
            32..=0xffff => self.0.extend([0xda, c, d]),
            _ => self.0.extend([0xdb, a, b, c, d]),
        }
        self.0.extend_from_slice(bytes);
    }
}

/// A value that is no container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Nil,
    Flag(bool),
    Number(u64),
    Raw(&'a [u8]),
    /// Nothing that memberlist has: a negative number, a float, an extension.
    Other,
    Map(u32),
    List(u32),
}

/// Reads values. Running out of bytes is [`Refusal::Truncated`], which tells a stream to wait for more.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes bytes as they are.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Refusal::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a structure: calls `field` for each of its fields; what that does not know it says by `Ok(false)`, having
    /// read nothing.
    pub(crate) fn structure(
        &mut self,
        mut field: impl FnMut(&[u8], &mut Self) -> Result<bool, Refusal>,
    ) -> Result<(), Refusal> {
        let Value::Map(fields) = self.value()? else {
            return Err(Refusal::Malformed);
        };
        for _ in 0..fields {
            let Value::Raw(name) = self.value()? else {
                return Err(Refusal::Malformed);
            };
            if !field(name, self)? {
                self.skip(MAX_DEPTH)?;
            }
        }
        Ok(())
    }

    pub(crate) fn number<N: TryFrom<u64>>(&mut self) -> Result<N, Refusal> {
        match self.value()? {
            Value::Number(value) => N::try_from(value).map_err(|_| Refusal::Malformed),
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Refusal> {
        match self.value()? {
            Value::Flag(value) => Ok(value),
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        match self.value()? {
            Value::Raw(bytes) => Ok(bytes),
            Value::Nil => Ok(&[]),
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Refusal> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Refusal::Malformed)
    }

    fn skip(&mut self, depth: usize) -> Result<(), Refusal> {
        let inside = match self.value()? {
            Value::Map(fields) => u64::from(fields) * 2,
            Value::List(items) => u64::from(items),
            _ => 0,
        };
        if inside > 0 && depth == 0 {
            return Err(Refusal::Malformed);
        }
        for _ in 0..inside {
            self.skip(depth - 1)?;
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value<'a>, Refusal> {
        let first = self.take(1)?[0];
        Ok(match first {
            0x00..=0x7f => Value::Number(first.into()),
            0x80..=0x8f => Value::Map((first & 0x0f).into()),
            0x90..=0x9f => Value::List((first & 0x0f).into()),
            0xa0..=0xbf => Value::Raw(self.take((first & 0x1f).into())?),
            0xc0 => Value::Nil,
            0xc2 => Value::Flag(false),
            0xc3 => Value::Flag(true),
            0xc4 | 0xd9 => self.raw(1)?,
            0xc5 | 0xda => self.raw(2)?,
            0xc6 | 0xdb => self.raw(4)?,
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (first - 0xcc))?),
            0xd0..=0xd3 => self.signed(1 << (first - 0xd0))?,
            0xdc => Value::List(self.length(2)?),
            0xdd => Value::List(self.length(4)?),
            0xde => Value::Map(self.length(2)?),
            0xdf => Value::Map(self.length(4)?),
            0xca | 0xd4..=0xd8 | 0xcb | 0xc7..=0xc9 => self.foreign(first)?,
            0xc1 | 0xe0..=0xff => Value::Other,
        })
    }

    fn raw(&mut self, width: usize) -> Result<Value<'a>, Refusal> {
        let len = self.length(width)?;
        let len = usize::try_from(len).map_err(|_| Refusal::Malformed)?;
        Ok(Value::Raw(self.take(len)?))
    }

    /// Floats and extensions: stepped over.
    fn foreign(&mut self, first: u8) -> Result<Value<'a>, Refusal> {
        let len = match first {
            0xca => 4,
            0xcb => 8,
            0xc7..=0xc9 => {
                let len = self.length(1 << (first - 0xc7))?;
                usize::try_from(len).map_err(|_| Refusal::Malformed)?.saturating_add(1)
            }
            _ => (1 << (first - 0xd4)) + 1,
        };
        self.take(len)?;
        Ok(Value::Other)
    }

    fn length(&mut self, width: usize) -> Result<u32, Refusal> {
        u32::try_from(self.unsigned(width)?).map_err(|_| Refusal::Malformed)
    }

    fn unsigned(&mut self, width: usize) -> Result<u64, Refusal> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A signed number that is not negative is as good as an unsigned one.
    fn signed(&mut self, width: usize) -> Result<Value<'a>, Refusal> {
        let negative = self.rest.first().is_some_and(|byte| byte & 0x80 != 0);
        let value = self.unsigned(width)?;
        Ok(if negative { Value::Other } else { Value::Number(value) })
    }
}
