//! Members of tars that are no files but say the next one's name; readers take them whole.

use std::io::{Error, ErrorKind, Read, Result};

/// Bytes that a name, or the list of a member's properties, may have.
const MAX: u64 = 1 << 20;
/// Headers and contents are padded to blocks of so many bytes.
const BLOCK: usize = 512;

/// Reads on, but refuses a header that claims a name of more than a mebibyte.
///
/// Every block is looked at, whether it is a header or a file's content: a content that
/// looks like such a header, with its checksum, is no picture.
pub(super) struct ShortNames<R> {
    reader: R,
    block: [u8; BLOCK],
    filled: usize,
    given: usize,
}

impl<R: Read> ShortNames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, block: [0; BLOCK], filled: 0, given: 0 }
    }

    fn refill(&mut self) -> Result<()> {
        (self.filled, self.given) = (0, 0);
        while self.filled < BLOCK {
            match self.reader.read(&mut self.block[self.filled..]) {
                Ok(0) => break,
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let header = tar::Header::from_byte_slice(&self.block);
        if self.filled == BLOCK
            && matches!(self.block[156], b'L' | b'K' | b'x' | b'g')
            && is_header(&self.block)
            && header.entry_size().is_ok_and(|size| size > MAX)
        {
            return Err(Error::other("a name of more than a mebibyte"));
        }
        Ok(())
    }
}

/// Whether the block's checksum is its own: the sum of its bytes, the checksum as spaces.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let own: u32 = block[148..156].iter().map(|&byte| u32::from(byte)).sum();
    tar::Header::from_byte_slice(block).cksum().is_ok_and(|said| said == sum - own + 8 * 32)
}

impl<R: Read> Read for ShortNames<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.given == self.filled {
            self.refill()?;
        }
        let n = into.len().min(self.filled - self.given);
        into[..n].copy_from_slice(&self.block[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar with one member whose name is given by a GNU header that claims `size` bytes.
    fn named(size: u64, name: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(size);
        header.set_cksum();
        let mut file = tar::Header::new_gnu();
        file.set_path("cut").unwrap();
        file.set_size(3);
        file.set_cksum();
        let mut bytes = [header.as_bytes(), name].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes.extend(file.as_bytes());
        bytes.extend(b"abc");
        bytes.resize(bytes.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
        bytes
    }

    #[test]
    fn long_names_are_read_and_endless_ones_refused() {
        let name = vec![b'n'; 900];
        let bytes = named(900, &name);
        let mut archive = tar::Archive::new(ShortNames::new(&bytes[..]));
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes().as_ref(), &name[..]);
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");

        let endless = named(100 << 30, &name);
        let reader = ShortNames::new((&endless[..]).chain(std::io::repeat(b'n')));
        let mut archive = tar::Archive::new(reader);
        let error = archive.entries().unwrap().next().unwrap().err().unwrap();
        assert!(error.to_string().contains("a name of more than a mebibyte"), "{error}");
    }
}
