//! Thrift's compact protocol, as far as it takes to see what a Parquet file claims. The
//! Parquet crate makes room for what it is told; here it is told of first.

pub(super) fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads on from a place. Whatever does not fit is nothing.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    depth: usize,
}

impl<'a> Compact<'a> {
    pub(super) fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, depth: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let value = varint(self.bytes.get(self.at..)?)?;
        while self.byte()? & 0x80 != 0 {}
        Some(value)
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's number and type; none at the end of a struct.
    pub(super) fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = if byte >> 4 == 0 { self.signed()? } else { last.checked_add(i64::from(byte >> 4))? };
        Some(Some((*last, byte & 0x0f)))
    }

    /// How many elements a list has, and their type. Each takes a byte at least.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let n = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
        (n <= (self.bytes.len() - self.at) as u64).then_some((n, byte & 0x0f))
    }

    /// Passes over a value of this type.
    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        self.depth += 1;
        if self.depth > 16 {
            return None;
        }
        match kind {
            1 | 2 => {}                             // a truth value, in its type
            3 => _ = self.byte()?,                  // a byte
            4..=6 => _ = self.unsigned()?,          // numbers
            7 => self.at = self.at.checked_add(8)?, // a double
            8 => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            9 | 10 => {
                let (n, kind) = self.list()?;
                for _ in 0..n {
                    // A list's truth values take a byte each.
                    if matches!(kind, 1 | 2) {
                        _ = self.byte()?;
                    } else {
                        self.skip(kind)?;
                    }
                }
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind)?;
                }
            }
            _ => return None,
        }
        self.depth -= 1;
        (self.at <= self.bytes.len()).then_some(())
    }
}
