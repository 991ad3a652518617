//! Does a pickle ask for code to be run? Read as a list of instructions, followed by
//! nobody. The reader of weights runs none either; a file that asks is refused, so
//! that its owner hears of it.

use std::collections::HashMap;

/// How much of the bytes is pickles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pickles {
    /// All of it.
    All,
    /// One after another at the start: magic number, version, system, object
    /// (PyTorch 1.5 and earlier); then values.
    Leading,
}

/// Packages whose classes stand in checkpoints. Anything else is refused.
const KNOWN: [&str; 22] = [
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "collections",
    "argparse",
    "omegaconf",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "lightly",
    "solo",
    "byol_pytorch",
    "datetime",
    "pathlib",
    "typing",
    "enum",
    "copyreg",
    "copy_reg",
    "_codecs",
    "builtins",
    "__builtin__",
];

/// Of Python's own functions, those that only make values.
const HARMLESS: [&str; 16] = [
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "complex",
    "slice",
    "range",
    "object",
    "long",
];

/// Parts of known packages that load or run things.
const ACTIVE: [&str; 12] = [
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.serialization",
    "torch.utils",
    "torch.load",
    "torch.compile",
    "torch.ops",
    "torch._dynamo",
    "torch._inductor",
    "torch.testing",
    "numpy.testing",
];

/// The first function or class in the pickles that weights have no need of.
pub(super) fn foreign_call(bytes: &[u8], pickles: Pickles) -> Option<String> {
    let instructions = Instructions { bytes, at: 0 };
    let mut ends = 0;
    let mut memo: HashMap<u32, String> = HashMap::new();
    let mut strings = [String::new(), String::new()];
    // A damaged pickle ends the search; the reader of weights says what is wrong.
    for (code, argument) in instructions {
        let text = || String::from_utf8_lossy(argument).into_owned();
        let mut push = |string: String| {
            strings.swap(0, 1);
            strings[1] = string;
        };
        match code {
            b'c' | b'i' => {
                let both = text();
                let (module, name) = both.split_once('\n').unwrap_or((&both, ""));
                if !is_known(module, name) {
                    return Some(printable(&format!("{module}.{name}")));
                }
            }
            b'S' | b'V' | b'U' | b'T' | b'X' | 0x8c | 0x8d => push(text()),
            b'q' | b'r' => {
                memo.insert(number(argument), strings[1].clone());
            }
            0x94 => {
                let next = memo.len() as u32;
                memo.insert(next, strings[1].clone());
            }
            b'h' | b'j' => {
                if let Some(string) = memo.get(&number(argument)) {
                    push(string.clone());
                }
            }
            0x93 if !is_known(&strings[0], &strings[1]) => {
                return Some(printable(&format!("{}.{}", strings[0], strings[1])));
            }
            b'.' => {
                // The next pickle remembers nothing of this one.
                memo.clear();
                ends += 1;
                if pickles == Pickles::Leading && ends == 4 {
                    return None;
                }
            }
            _ => {}
        }
    }
    None
}

/// For an error message: short, and nothing that a terminal would obey.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn is_known(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or_default();
    if !KNOWN.contains(&root) {
        return false;
    }
    if root == "builtins" || root == "__builtin__" {
        return HARMLESS.contains(&name);
    }
    let full = format!("{module}.{name}");
    !ACTIVE.iter().any(|active| full == *active || full.starts_with(&format!("{active}.")))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |n, &byte| (n << 8) | u32::from(byte))
}

/// Instructions with their arguments (Python's `pickletools` has the table).
struct Instructions<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Instructions<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let n = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += n + 1;
        Some(&rest[..n])
    }

    /// As many bytes as the next `width` bytes say.
    fn counted(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.take(width)?;
        let length = length.iter().rev().fold(0u64, |n, &byte| (n << 8) | u64::from(byte));
        self.take(usize::try_from(length).ok()?)
    }
}

impl<'a> Iterator for Instructions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.take(1)?[0];
        let argument = match code {
            b'F' | b'I' | b'L' | b'S' | b'V' | b'P' | b'g' | b'p' => self.line()?,
            b'c' | b'i' => {
                let start = self.at;
                self.line()?;
                self.line()?;
                &self.bytes[start..self.at - 1]
            }
            b'K' | b'h' | b'q' | 0x80 | 0x82 => self.take(1)?,
            b'M' | 0x83 => self.take(2)?,
            b'J' | b'j' | b'r' | 0x84 => self.take(4)?,
            b'G' | 0x95 => self.take(8)?,
            b'U' | b'C' | 0x8a | 0x8c => self.counted(1)?,
            b'T' | b'B' | b'X' | 0x8b => self.counted(4)?,
            0x8d | 0x8e | 0x96 => self.counted(8)?,
            _ => &[],
        };
        Some((code, argument))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_every_protocol() {
        // pickle.dumps of an object whose __reduce__ is (os.system, ("true",)).
        let protocol_0 = b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n.";
        let protocol_2 = b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.";
        let protocol_4 = b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.";
        for pickle in [&protocol_0[..], protocol_2, protocol_4] {
            assert_eq!(foreign_call(pickle, Pickles::All).as_deref(), Some("posix.system"));
        }
        // The name out of the memo.
        let recalled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940000h\x00h\x01\x93.";
        assert_eq!(foreign_call(recalled, Pickles::All).as_deref(), Some("posix.system"));
    }

    #[test]
    fn what_checkpoints_hold_is_known() {
        for (module, name, known) in [
            ("torch._utils", "_rebuild_tensor_v2", true),
            ("collections", "OrderedDict", true),
            ("torch", "FloatStorage", true),
            ("builtins", "set", true),
            ("builtins", "eval", false),
            ("builtins", "getattr", false),
            ("torch.hub", "load", false),
            ("torch", "load", false),
            ("subprocess", "Popen", false),
            ("torchy", "anything", false),
        ] {
            assert_eq!(is_known(module, name), known, "{module}.{name}");
        }
    }

    #[test]
    fn cut_pickles_end_the_search() {
        let pickle = b"\x80\x02X\xff\xff\xff\xffabc";
        assert_eq!(foreign_call(pickle, Pickles::All), None);
        for end in 0..pickle.len() {
            assert_eq!(foreign_call(&pickle[..end], Pickles::Leading), None);
        }
    }
}
