//! LZW as Go's `compress/lzw` with `LSB` and a literal width of 8, which is that of GIF: codes grow from 9 to 12 bits, 256
//! clears the table, 257 ends the data. A table that is full stays as it is.

use super::Refusal;

const CLEAR: u16 = 256;
const END: u16 = 257;
const FIRST_FREE: u16 = 258;
const MAX_WIDTH: u32 = 12;
const TABLE_LEN: usize = 1 << MAX_WIDTH;

/// Codes of growing width, the least significant bit first.
struct Codes<'a> {
    rest: std::slice::Iter<'a, u8>,
    bits: u32,
    held: u32,
}

impl Codes<'_> {
    fn next(&mut self, width: u32) -> Result<u16, Refusal> {
        while self.held < width {
            let byte = *self.rest.next().ok_or(Refusal::Truncated)?;
            self.bits |= u32::from(byte) << self.held;
            self.held += 8;
        }
        let code = self.bits & ((1 << width) - 1);
        self.bits >>= width;
        self.held -= width;
        u16::try_from(code).map_err(|_| Refusal::Malformed)
    }
}

/// What each code above the literals stands for: another code's text, and a byte.
struct Table {
    prefix: [u16; TABLE_LEN],
    suffix: [u8; TABLE_LEN],
    /// The highest code that has been assigned, or will be by the next one.
    high: u16,
    width: u32,
    last: Option<u16>,
}

impl Table {
    fn clear(&mut self) {
        self.high = FIRST_FREE - 1;
        self.width = 9;
        self.last = None;
    }

    /// Appends the text of `code` and learns a new one.
    fn expand(&mut self, code: u16, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = out.len();
        match self.last {
            _ if code < CLEAR => out.push(literal(code)),
            // The one that is being assigned: the last text and its own first byte.
            Some(last) if code == self.high => {
                self.text(last, out);
                let first = out[start];
                out.push(first);
            }
            // While the table is full nothing is being assigned, and the highest code is one like the others.
            last if code < self.high || (last.is_none() && code == self.high) => self.text(code, out),
            _ => return Err(Refusal::Malformed),
        }
        if let Some(last) = self.last {
            self.prefix[usize::from(self.high)] = last;
            self.suffix[usize::from(self.high)] = out[start];
        }
        self.last = Some(code);
        self.high += 1;
        if u32::from(self.high) >= 1 << self.width {
            if self.width == MAX_WIDTH {
                self.last = None;
                self.high -= 1;
            } else {
                self.width += 1;
            }
        }
        Ok(())
    }

    /// Appends the text of an assigned code. It ends, for a prefix is always older than its code.
    fn text(&self, mut code: u16, out: &mut Vec<u8>) {
        let start = out.len();
        while code >= FIRST_FREE {
            out.push(self.suffix[usize::from(code)]);
            code = self.prefix[usize::from(code)];
        }
        out.push(literal(code));
        out[start..].reverse();
    }
}

fn literal(code: u16) -> u8 {
    code.to_le_bytes()[0]
}

/// Decompresses to at most `limit` bytes.
pub(crate) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut codes = Codes {
        rest: bytes.iter(),
        bits: 0,
        held: 0,
    };
    let mut table = Table {
        prefix: [0; TABLE_LEN],
        suffix: [0; TABLE_LEN],
        high: 0,
        width: 0,
        last: None,
    };
    table.clear();
    let mut out = Vec::new();
    loop {
        match codes.next(table.width)? {
            CLEAR => table.clear(),
            END => return Ok(out),
            code => table.expand(code, &mut out)?,
        }
        if out.len() > limit {
            return Err(Refusal::TooLarge);
        }
    }
}
