//! A fingerprint of pictures and labels in order, that of a whole from those of its parts.

use sha2::{Digest, Sha256};

/// The Mersenne prime 2^61 − 1.
const P: u64 = (1 << 61) - 1;
/// A base for each lane: digits of π, below P.
const BASES: [u64; 4] =
    [0x0243_f6a8_885a_308d, 0x1131_98a2_e037_0734, 0x1a40_9382_2299_f31d, 0x0082_efa9_8ec4_e6c8];

/// Polynomial over the SHA-256 of each picture and label, in four lanes modulo 2^61 − 1.
/// Shards of the same pictures in the same order give the same value, however they are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint {
    lanes: [u64; 4],
    n: u64,
}

impl Fingerprint {
    pub(crate) fn push(&mut self, bytes: &[u8], label: Option<i64>) {
        let mut hash = Sha256::new();
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
        hash.update(label.unwrap_or(-1).to_le_bytes());
        let digest = hash.finalize();
        let mut one = Self { n: 1, ..Self::default() };
        for (lane, word) in one.lanes.iter_mut().zip(digest.chunks_exact(8)) {
            *lane = word.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte)) % P;
        }
        *self = self.then(one);
    }

    /// Of these pictures and then those.
    pub(crate) fn then(self, next: Self) -> Self {
        let lanes =
            std::array::from_fn(|i| (product(self.lanes[i], power(BASES[i], next.n)) + next.lanes[i]) % P);
        Self { lanes, n: self.n + next.n }
    }

    pub(crate) fn n(&self) -> u64 {
        self.n
    }

    /// 64 hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        self.lanes.iter().map(|lane| format!("{lane:016x}")).collect()
    }

    pub(crate) fn from_hex(text: &str, n: u64) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut lanes = [0; 4];
        for (lane, digits) in lanes.iter_mut().zip(text.as_bytes().chunks_exact(16)) {
            *lane = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|&v| v < P)?;
        }
        Some(Self { lanes, n })
    }
}

fn product(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(P)) as u64
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(result, base);
        }
        base = product(base, base);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(pictures: &[(Vec<u8>, Option<i64>)]) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        for (bytes, label) in pictures {
            fingerprint.push(bytes, *label);
        }
        fingerprint
    }

    proptest! {
        #[test]
        fn the_whole_follows_from_its_parts(
            pictures in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), any::<Option<i64>>()), 2..20),
            cut in 0usize..20,
        ) {
            let whole = of(&pictures);
            let cut = cut.min(pictures.len());
            prop_assert_eq!(of(&pictures[..cut]).then(of(&pictures[cut..])), whole);
            prop_assert_eq!(Fingerprint::from_hex(&whole.hex(), whole.n()), Some(whole));
        }
    }

    #[test]
    fn order_content_label_and_number_count() {
        let picture = |byte: u8, label| (vec![byte], label);
        let all = [
            of(&[picture(1, None), picture(2, None)]),
            of(&[picture(2, None), picture(1, None)]),
            of(&[picture(1, Some(0)), picture(2, None)]),
            of(&[picture(1, None)]),
            of(&[]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a.hex() != b.hex()), "{i}");
        }
    }
}
