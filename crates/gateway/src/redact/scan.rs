//! Looks for the literals that may begin a credential, in any case.
//!
//! Hardly any place of a text begins one, so the way to the next is made with vector instructions
//! where the machine has them: they look for the first bytes of all literals at once, in a copy
//! without case. What they find is only a place that is worth a look. Whether a literal stands
//! there, and which, the automaton says, as it would have without them.

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{
    AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, Input, Match, MatchKind, Span,
};

/// Bytes of a literal that are looked for.
const AHEAD: usize = 4;
/// Bytes of a text that are copied at once.
const CHUNK: usize = 1024;
/// Blanks behind the copy: with fewer bytes than this the search is a slow one.
const BLANKS: usize = 64;
/// A text of fewer bytes is walked through sooner than it is copied.
const SHORT: usize = 64;
/// Among how many buckets the search deals out what it looks for, one after the other.
const BUCKETS: usize = 16;
/// Where more than one byte in so many is worth a look, every byte is looked at sooner.
const SPARSE: usize = 32;
/// What letters have in lower case only. Other bytes may become like one another by it, which costs
/// a look.
const LOWER: u8 = 0x20;

/// A set of literals.
pub(super) struct Scan {
    literals: AhoCorasick,
    /// The length of the longest.
    longest: usize,
    /// `None` where the machine has no such instructions.
    ahead: Option<Searcher>,
}

impl Scan {
    /// Of two literals that begin alike the first one counts.
    pub(super) fn new(literals: &[&str]) -> Option<Self> {
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::DFA))
            .build(literals)
            .ok()?;
        let first = |literal: &&str| {
            literal.bytes().take(AHEAD).map(|byte| byte | LOWER).collect::<Vec<_>>()
        };
        let mut firsts: Vec<_> = literals.iter().map(first).collect();
        firsts.sort_unstable();
        firsts.dedup();
        // The less those of one bucket differ, the seldomer the search stops for nothing: so
        // neighbours in the alphabet go into the same.
        let most = firsts.len().div_ceil(BUCKETS).max(1);
        let dealt = (0..most).flat_map(|round| firsts.iter().skip(round).step_by(most));
        let ahead = packed::Config::new().builder().extend(dealt).build();
        let ahead = ahead.filter(|ahead| ahead.minimum_len() <= BLANKS);
        let longest = literals.iter().map(|literal| literal.len()).max()?;
        Some(Self { literals: automaton, longest, ahead })
    }

    /// The literals of a text.
    pub(super) fn hits<'a>(&'a self, text: &'a [u8]) -> Hits<'a> {
        let ahead = self.ahead.as_ref();
        let ahead = ahead.filter(|ahead| text.len() >= ahead.minimum_len().max(SHORT));
        let copy = ahead.map(|ahead| Box::new(Copied::new(ahead)));
        Hits { scan: self, text, copy, looks: 0 }
    }

    /// As on a machine without those instructions.
    #[cfg(test)]
    pub(super) fn without_ahead(mut self) -> Self {
        self.ahead = None;
        self
    }
}

/// The way through a text.
pub(super) struct Hits<'a> {
    scan: &'a Scan,
    text: &'a [u8],
    /// `None` where every byte is walked through. On the heap: it is larger than most texts.
    copy: Option<Box<Copied<'a>>>,
    /// How many places were worth a look.
    looks: usize,
}

impl Hits<'_> {
    /// The first literal at `from` or behind. `from` must not become less from call to call.
    pub(super) fn next(&mut self, mut from: usize) -> Option<Match> {
        let Scan { literals, longest, .. } = self.scan;
        let (input, end) = (Input::new(self.text), self.text.len());
        while let Some(copy) = &mut self.copy {
            let place = copy.next(self.text, from)?;
            self.looks += 1;
            if self.looks > SPARSE + place / SPARSE {
                self.copy = None;
            }
            // A literal that begins there ends within this.
            let here = input.clone().range(place..end.min(place + longest));
            if let Some(hit) = literals.find(here).filter(|hit| hit.start() == place) {
                return Some(hit);
            }
            from = place + 1;
        }
        literals.find(input.range(from.min(end)..))
    }
}

/// A part of the text without case, and blanks behind it.
struct Copied<'a> {
    ahead: &'a Searcher,
    bytes: [u8; CHUNK + BLANKS],
    /// Where it begins in the text.
    start: usize,
    /// How much of it is text.
    len: usize,
}

impl<'a> Copied<'a> {
    fn new(ahead: &'a Searcher) -> Self {
        Self { ahead, bytes: [0; CHUNK + BLANKS], start: 0, len: 0 }
    }

    /// The next place that is worth a look.
    fn next(&mut self, text: &[u8], from: usize) -> Option<usize> {
        let mut from = from.max(self.start);
        loop {
            if from < self.start + self.len {
                let span = Span { start: from - self.start, end: self.len + BLANKS };
                if let Some(hit) = self.ahead.find_in(self.bytes.as_slice(), span)
                    && hit.start() < self.len
                {
                    return Some(self.start + hit.start());
                }
                if self.start + self.len == text.len() {
                    return None;
                }
                // A literal may begin in this part and end in the next.
                from = from.max((self.start + self.len).saturating_sub(AHEAD - 1));
            }
            let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
            self.start = from;
            self.len = rest.len().min(CHUNK);
            for (copied, byte) in self.bytes.iter_mut().zip(rest.iter().take(CHUNK)) {
                *copied = byte | LOWER;
            }
            if let Some(blanks) = self.bytes.get_mut(self.len..self.len + BLANKS) {
                blanks.fill(0);
            }
        }
    }
}
