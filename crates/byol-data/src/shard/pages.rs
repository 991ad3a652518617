//! What the pages of a column claim to hold, before anything is made room for.
//!
//! The Parquet crate allocates what a page header promises. A damaged or hostile header
//! promises up to 2 GiB, so headers are read here first (Thrift's compact protocol).

use bytes::Bytes;
use parquet::basic::Compression;

/// Checks that no page of the chunk `bytes`, in memory, claims more than `limit` bytes
/// when decompressed, nor more compressed ones than are there.
pub(super) fn check(bytes: &Bytes, codec: Compression, n_values: i64, limit: u64) -> Result<(), String> {
    let mut at = 0;
    let mut values = 0i64;
    while at < bytes.len() && values < n_values {
        let mut reader = Compact { bytes, at, depth: 0 };
        let header =
            reader.page_header().ok_or_else(|| format!("no page header at byte {at} of the column"))?;
        at = reader.at;
        let (Ok(compressed), Ok(claimed)) =
            (usize::try_from(header.compressed), u64::try_from(header.uncompressed))
        else {
            return Err(format!("a page of {} bytes", header.compressed.min(header.uncompressed)));
        };
        let page = at.checked_add(compressed).and_then(|end| bytes.get(at..end));
        let page = page.ok_or_else(|| format!("a page of {compressed} bytes passes the column's end"))?;
        let mut largest = claimed;
        if codec == Compression::SNAPPY {
            let data = usize::try_from(header.levels).ok().and_then(|levels| page.get(levels..));
            largest = largest.max(data.and_then(varint).unwrap_or_default()); // Snappy's own word
        }
        if largest > limit {
            return Err(format!("a page that claims {largest} bytes, more than the {limit} allowed"));
        }
        if header.values < 0 {
            return Err(format!("a page of {} values", header.values));
        }
        values = values.saturating_add(header.values);
        at += compressed;
    }
    Ok(())
}

fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[derive(Debug, Default)]
struct Header {
    uncompressed: i64,
    compressed: i64,
    /// Of a data page; dictionary pages have none.
    values: i64,
    /// Bytes of levels that stand before what is compressed (second version).
    levels: i64,
}

struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Compact<'_> {
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

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field's number and type; none at the end of a struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = if byte >> 4 == 0 { self.signed()? } else { last.checked_add(i64::from(byte >> 4))? };
        Some(Some((*last, byte & 0x0f)))
    }

    fn skip(&mut self, kind: u8) -> Option<()> {
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
                let byte = self.byte()?;
                let n = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
                for _ in 0..n {
                    // A list's truth values take a byte each.
                    if matches!(byte & 0x0f, 1 | 2) {
                        _ = self.byte()?
                    } else {
                        self.skip(byte & 0x0f)?
                    }
                    if self.at > self.bytes.len() {
                        return None;
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

    fn page_header(&mut self) -> Option<Header> {
        let mut header = Header::default();
        let mut last = 0;
        while let Some((number, kind)) = self.field(&mut last)? {
            match (number, kind) {
                (2, 5) => header.uncompressed = self.signed()?,
                (3, 5) => header.compressed = self.signed()?,
                (5, 12) => header.values = self.numbers()?[0],
                (8, 12) => {
                    let numbers = self.numbers()?;
                    header.values = numbers[0];
                    header.levels = numbers[4].checked_add(numbers[5])?;
                }
                _ => self.skip(kind)?,
            }
        }
        Some(header)
    }

    /// The first six fields of a struct, where they are whole numbers.
    fn numbers(&mut self) -> Option<[i64; 6]> {
        let mut numbers = [0; 6];
        let mut last = 0;
        while let Some((number, kind)) = self.field(&mut last)? {
            match usize::try_from(number - 1).ok().and_then(|i| numbers.get_mut(i)) {
                Some(slot) if kind == 5 => *slot = self.signed()?,
                _ => self.skip(kind)?,
            }
        }
        Some(numbers)
    }
}
