//! What is written is read back as it was, and nothing else is taken for it.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::super::body::{Packed, PackedView};
use super::super::super::canon::Sum;
use super::super::super::journal::Sealer;
use super::super::super::record::{DebitView, Rx, Stored, Tx};
use super::super::super::write::{Closing, Opening, Record, Settling};
use super::{Frame, write};

const ID: [u8; 16] = [7; 16];

fn sealer() -> Sealer {
    Sealer::new(&[3; 32])
}

/// What the fields are made of: each is there, empty or absent in some case.
#[derive(Clone, Debug)]
struct Fields {
    texts: Vec<Option<String>>,
    numbers: Vec<i64>,
    flags: Vec<bool>,
    body: Option<Vec<u8>>,
}

fn fields() -> impl Strategy<Value = Fields> {
    let text = prop_oneof![Just(None), ".{0,20}".prop_map(Some)];
    let body = prop::option::of(prop::collection::vec(0..4_u8, 0..400));
    (
        prop::collection::vec(text, 8),
        prop::collection::vec(any::<i64>(), 8),
        prop::collection::vec(any::<bool>(), 4),
        body,
    )
        .prop_map(|(texts, numbers, flags, body)| Fields { texts, numbers, flags, body })
}

impl Fields {
    fn maybe(&self, at: usize) -> Option<&str> {
        self.texts[at].as_deref()
    }

    fn text(&self, at: usize) -> &str {
        self.maybe(at).unwrap_or_default()
    }

    fn debit(&self) -> DebitView<'_> {
        let [requests, tokens, cost] = [self.numbers[0], self.numbers[1], self.numbers[2]];
        let amounts = Stored { requests, tokens, cost };
        DebitView { scopes: self.text(0), admitted: self.numbers[3], amounts }
    }

    fn opening<'a>(&'a self, packed: Option<&'a Packed>) -> Opening<'a> {
        let rx = Rx {
            id: &ID,
            received: self.numbers[0],
            key: self.maybe(1),
            tenant: self.maybe(2),
            sandbox: self.flags[0],
            address: self.text(3),
            agent: self.maybe(4),
            dialect: self.text(5),
            endpoint: self.text(6),
            model: self.text(7),
            stream: self.flags[1],
            messages: self.numbers[4],
            bytes_in: self.numbers[5],
            estimate: self.numbers[6],
            reserved: self.debit(),
        };
        Opening {
            rx,
            body: packed.map(Packed::view),
            digest: rx.digest(packed.map(|packed| &packed.sum)),
        }
    }

    fn closing<'a>(&'a self, packed: Option<&'a Packed>) -> Closing<'a> {
        let tx = Tx {
            id: &ID,
            first_byte: self.flags[0].then_some(self.numbers[0]),
            ended: self.numbers[1],
            model_served: self.maybe(1),
            upstream: self.maybe(2),
            replay_of: self.flags[1].then_some(&ID),
            status: self.numbers[2],
            stop_reason: self.maybe(3),
            input_tokens: self.numbers[3],
            output_tokens: self.numbers[4],
            cached_tokens: self.numbers[5],
            estimated: self.flags[2],
            overrun: self.flags[3],
            losses: self.text(4),
            bytes_out: self.numbers[6],
            failure: self.maybe(5),
            message: self.maybe(6),
            spent: self.flags[3].then(|| self.debit()),
        };
        Closing {
            tx,
            body: packed.map(Packed::view),
            digest: tx.digest(packed.map(|packed| &packed.sum)),
        }
    }
}

fn check(record: &Record<'_>, at: usize, with: u8) -> Result<(), TestCaseError> {
    let mut bytes = BytesMut::new();
    write(&mut bytes, 41, record, &sealer());
    let end = bytes.len();
    write(&mut bytes, 42, record, &sealer());
    let mut frame = Frame::default();
    let mut from = &bytes[..];
    for lsn in [41, 42] {
        prop_assert!(frame.read(&mut from).unwrap());
        prop_assert_eq!(frame.lsn, lsn);
        prop_assert_eq!(frame.record(&sealer()), Some(*record));
        prop_assert_eq!(frame.record(&Sealer::new(&[4; 32])), None);
    }
    prop_assert!(!frame.read(&mut from).unwrap(), "there is no third");
    // A torn one.
    if frame.read(&mut bytes.get(..at % end).unwrap()).unwrap() {
        prop_assert_eq!(frame.record(&sealer()), None, "torn at {}", at % end);
    }
    // One with a changed byte: whatever it is taken for, it is not this record at this number.
    let at = at % end;
    bytes[at] ^= with.max(1);
    if frame.read(&mut &bytes[..]).unwrap() {
        prop_assert_eq!(frame.record(&sealer()), None, "changed at {}", at);
    }
    Ok(())
}

proptest! {
    #[test]
    fn reads_what_was_written(fields in fields(), at in any::<usize>(), with in any::<u8>()) {
        let packed = fields.body.clone().map(|body| Packed::new(&body.into()));
        let (open, close) = (fields.opening(packed.as_ref()), fields.closing(packed.as_ref()));
        check(&Record::Open(open), at, with)?;
        check(&Record::Close(close), at, with)?;
        check(&Record::Refuse(open, close), at, with)?;
        let spent = fields.debit();
        check(&Record::Settle(Settling { id: &ID, spent, digest: spent.settled(&ID) }), at, with)?;
    }

    #[test]
    fn takes_no_garbage(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut frame = Frame::default();
        if frame.read(&mut bytes.as_slice()).unwrap() {
            prop_assert_eq!(frame.record(&sealer()), None);
        }
    }
}

/// The seal is over the digest of a body, not over the body.
#[test]
fn a_body_that_does_not_unpack_is_no_record() {
    let fields =
        Fields { texts: vec![None; 8], numbers: vec![0; 8], flags: vec![false; 4], body: None };
    let mut opening = fields.opening(None);
    opening.body = Some(PackedView { codec: 0, size: 5, bytes: b"four" });
    let sum: Sum = [0; 32];
    opening.digest = opening.rx.digest(Some(&sum));
    let mut bytes = BytesMut::new();
    write(&mut bytes, 1, &Record::Open(opening), &sealer());
    let mut frame = Frame::default();
    assert!(frame.read(&mut &bytes[..]).unwrap());
    assert_eq!(frame.record(&sealer()), None);
}

/// A length that was made up does not hide that there was a record, and takes up nothing.
#[test]
fn a_frame_that_is_too_long_has_a_number_and_no_record() {
    let mut bytes = BytesMut::new();
    let spent =
        Fields { texts: vec![None; 8], numbers: vec![0; 8], flags: vec![false; 4], body: None };
    let spent = spent.debit();
    let settle = Settling { id: &ID, spent, digest: spent.settled(&ID) };
    write(&mut bytes, 9, &Record::Settle(settle), &sealer());
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let (mut frame, mut from) = (Frame::default(), &bytes[..]);
    assert!(frame.read(&mut from).unwrap());
    assert_eq!((frame.lsn, frame.record(&sealer())), (9, None));
    assert_eq!(from.len(), bytes.len() - super::HEAD);
}
