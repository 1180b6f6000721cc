//! Secrets that are planted, and the places where they must not turn up.

use std::collections::BTreeMap;
use std::path::Path;

/// Whose secret it is, which decides where it may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The bridge's own: tokens, keys, its secrets on the disk. Nowhere.
    Ours,
    /// A credential in the head of a request. Nowhere.
    Shown,
    /// A credential in the body of a request: the host may see it, and the caller who said it.
    Said,
    /// A credential in an answer of the host: the caller may see it.
    Answered,
}

/// A planted secret.
#[derive(Clone, Debug)]
pub(crate) struct Canary {
    pub(crate) name: String,
    pub(crate) whose: Whose,
    /// As much of it as nobody writes by chance.
    needle: Vec<u8>,
}

/// Where bytes leave the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A reply of the doors.
    Reply,
    /// What an administrator reads, by whatever way.
    Admin,
    /// What the host reads.
    Host,
    /// What it logs, also with the bodies that were asked for.
    Stderr,
    /// The files of the data directory, and what the store reads out of them.
    Disk,
    /// What the system shows of the process.
    Process,
}

/// Some bytes that have left.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) bytes: Vec<u8>,
}

impl Canary {
    pub(crate) fn new(whose: Whose, name: &str, needle: impl AsRef<[u8]>) -> Self {
        let needle = needle.as_ref().to_vec();
        assert!(needle.len() >= 12, "{name} would be found by chance");
        Self { name: name.to_owned(), whose, needle }
    }

    /// A binary secret, as it is and in hex.
    pub(crate) fn binary(name: &str, secret: &[u8]) -> [Self; 2] {
        let hex = secret.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        [
            Self::new(Whose::Ours, name, secret),
            Self::new(Whose::Ours, &format!("{name} in hex"), hex),
        ]
    }

    /// A token of a virtual key: its secret half as text, and as the bytes that it stands for.
    pub(crate) fn token(name: &str, token: &str) -> Vec<Self> {
        let secret = token.rsplit('_').next().unwrap();
        let bytes = base32(&secret[..48]);
        let text = Self::new(Whose::Ours, name, &secret[..48]);
        let binary = Self::binary(&format!("{name}, decoded"), &bytes);
        [text].into_iter().chain(binary).collect()
    }

    /// Whether it is in what has left on this way.
    pub(crate) fn is_seen(&self, way: Way, left: &[Left]) -> bool {
        let of_way = left.iter().filter(|left| left.way == way);
        of_way.into_iter().any(|left| {
            left.bytes.windows(self.needle.len()).any(|part| part == self.needle.as_slice())
        })
    }

    /// Whether it may be seen on this way.
    fn belongs(&self, way: Way) -> bool {
        match self.whose {
            Whose::Ours | Whose::Shown => false,
            Whose::Said => matches!(way, Way::Reply | Way::Host),
            Whose::Answered => way == Way::Reply,
        }
    }
}

/// What RFC 4648 says that the text stands for, without a rest.
fn base32(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'a' };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

/// Every file of a directory.
pub(crate) fn files(directory: &Path, when: &str) -> Vec<Left> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // The log may have been taken away meanwhile.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        left.push(Left { name: format!("{name}, {when}"), way: Way::Disk, bytes });
    }
    left
}

/// Where canaries are that do not belong there, in words: once for each canary and place.
pub(crate) fn hits(canaries: &[Canary], left: &[Left]) -> Vec<String> {
    let needles = canaries.iter().map(|canary| &canary.needle);
    // In whatever case: an index of words keeps them in lower case.
    let mut search = aho_corasick::AhoCorasickBuilder::new();
    let search = search.ascii_case_insensitive(true).build(needles).unwrap();
    let mut hits = BTreeMap::new();
    for Left { name, way, bytes } in left {
        // One canary may stand in another, as a secret does in its token.
        for found in search.find_overlapping_iter(bytes) {
            let canary = &canaries[found.pattern().as_usize()];
            if canary.belongs(*way) {
                continue;
            }
            let around = found.start().saturating_sub(60)..bytes.len().min(found.end() + 30);
            let around = String::from_utf8_lossy(&bytes[around]).into_owned();
            let what = format!("{} ({:?}) in {name}", canary.name, canary.whose);
            hits.entry(what).or_insert(around);
        }
    }
    hits.into_iter().map(|(what, around)| format!("{what}: …{around:?}…")).collect()
}
