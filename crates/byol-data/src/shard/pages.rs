//! What the pages of a column claim to hold, before anything is made room for.
//!
//! The Parquet crate allocates what a page header promises. A damaged or hostile header
//! promises up to 2 GiB, so headers are read here first (Thrift's compact protocol).

#[cfg(feature = "dataset")]
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Compression;

use super::thrift::{Compact, varint};

/// Checks that no page of the chunk `bytes`, in memory, claims more than `limit` bytes
/// when decompressed, nor more compressed ones than are there.
pub(super) fn check(bytes: &Bytes, codec: Compression, n_values: i64, limit: u64) -> Result<(), String> {
    let mut at = 0;
    let mut values = 0i64;
    while at < bytes.len() && values < n_values {
        let mut reader = Compact::at(bytes, at);
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

/// Where the `n_values` values of a column of bytes lie within its chunk, if its pages are
/// such as our writer makes them: of the first version, not compressed, values plain and none
/// missing. Nothing otherwise; the Parquet crate reads them all the same, by copying.
#[cfg(feature = "dataset")]
pub(super) fn plain_values(bytes: &[u8], n_values: usize) -> Option<Vec<Range<usize>>> {
    let mut values = Vec::with_capacity(n_values.min(bytes.len()));
    let mut at = 0;
    while values.len() < n_values {
        let mut reader = Compact::at(bytes, at);
        let header = reader.page_header()?;
        let (kind, encoding) = (header.kind, header.encoding);
        let start = reader.at;
        let end = start.checked_add(usize::try_from(header.compressed).ok()?)?;
        if end > bytes.len() || kind != 0 || encoding != 0 || header.compressed != header.uncompressed {
            return None;
        }
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        // Levels of definition; were a value missing, the page would be read too early to its end.
        let mut place = start.checked_add(4)?.checked_add(word(start)?)?;
        for _ in 0..header.values {
            let from = place.checked_add(4)?;
            let to = from.checked_add(word(place)?)?;
            if to > end {
                return None;
            }
            values.push(from..to);
            place = to;
        }
        if place != end {
            return None;
        }
        at = end;
    }
    (values.len() == n_values).then_some(values)
}

#[derive(Debug, Default)]
struct Header {
    uncompressed: i64,
    compressed: i64,
    /// Of a data page; dictionary pages have none.
    values: i64,
    /// Bytes of levels that stand before what is compressed (second version).
    levels: i64,
    /// Of the page, and of its values: 0 is a data page of the first version, and plain.
    kind: i64,
    encoding: i64,
}

impl Compact<'_> {
    fn page_header(&mut self) -> Option<Header> {
        let mut header = Header::default();
        let mut last = 0;
        while let Some((number, kind)) = self.field(&mut last)? {
            match (number, kind) {
                (1, 5) => header.kind = self.signed()?,
                (2, 5) => header.uncompressed = self.signed()?,
                (3, 5) => header.compressed = self.signed()?,
                (5, 12) => [header.values, header.encoding, ..] = self.numbers()?,
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
