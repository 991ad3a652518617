//! What makes a set the same set.

use super::ImageDataset;
use crate::DataError;
use crate::fingerprint::Fingerprint;

impl ImageDataset {
    /// Of all pictures, and compared with what the shards say of themselves.
    pub(super) fn fingerprint_of_content(&self) -> Result<String, DataError> {
        let mut whole = Fingerprint::default();
        let blocks = self.resident.iter().flatten();
        let mut blocks = self.groups.iter().zip(blocks).peekable();
        for (number, place) in self.shards.iter().enumerate() {
            let mut of_shard = Fingerprint::default();
            while let Some((_, block)) = blocks.next_if(|(group, _)| group.shard as usize == number) {
                for row in 0..block.len() {
                    of_shard.push(block.bytes(row), block.label(row));
                }
            }
            if place.fingerprint.as_ref().is_some_and(|recorded| *recorded != of_shard.hex()) {
                let why = "its pictures are not those that it was made of".into();
                return Err(DataError::Damaged { shard: place.shard.name.clone(), why });
            }
            whole = whole.then(of_shard);
        }
        Ok(whole.hex())
    }

    pub(super) fn fingerprint_of_footers(&self) -> Result<String, DataError> {
        let mut whole = Some(Fingerprint::default());
        let mut layout = String::new();
        for number in 0..self.shards.len() {
            let reader = self.reader(number)?;
            let rows = reader.n_rows() as u64;
            let recorded = self.shards[number].fingerprint.as_deref();
            let of_shard = recorded.and_then(|recorded| Fingerprint::from_hex(recorded, rows));
            whole = whole.zip(of_shard).map(|(whole, next)| whole.then(next));
            layout.push_str(&reader.layout_hash());
        }
        Ok(whole.map_or_else(
            || {
                let mut hash = Fingerprint::default();
                hash.push(layout.as_bytes(), None);
                format!("layout-{}", hash.hex())
            },
            |whole| whole.hex(),
        ))
    }
}
