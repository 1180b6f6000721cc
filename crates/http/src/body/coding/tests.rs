//! Packed bodies: what comes out, what it costs, and what is refused.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use model::{Failure, FailureKind};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::sync::OwnedSemaphorePermit;

use super::super::{BodyBudget, BodyLimits, HeldBody, read_body};

const HOUR: Duration = Duration::from_hours(1);
const MAX: usize = 1 << 20;
const LIMITS: BodyLimits = BodyLimits { max_bytes: MAX, idle: HOUR, total: HOUR };

/// Written by `zstd` 1.5 at level 3 with a checksum.
const BY_ZSTD: &str = "28b52ffd045815020032440e159025ea32d0ac812500917cf0dfffe5758a54ffa0044d688b\
                       8288480de0b742550887c7a9b9be6b30cd823b0b20993d8f512df26d5af0cc0201008f2255\
                       a0470e587c";
/// By the same, for a window of 128 MiB.
const WIDE_WINDOW: &str = "28b52ffd008845000010787801003f012c";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    compress_to_vec(plain, CompressionLevel::Fastest)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

async fn read_with(
    codings: &[&'static str],
    packed: Vec<u8>,
    budget: &BodyBudget,
) -> Result<HeldBody, Failure> {
    let mut headers = HeaderMap::new();
    for coding in codings {
        headers.append("content-encoding", HeaderValue::from_static(coding));
    }
    read_body(&headers, Full::new(Bytes::from(packed)), &LIMITS, budget).await
}

async fn read(codings: &[&'static str], packed: Vec<u8>) -> Result<HeldBody, Failure> {
    read_with(codings, packed, &BodyBudget::new(64 << 20)).await
}

async fn kind(codings: &[&'static str], packed: Vec<u8>) -> FailureKind {
    read(codings, packed).await.map(drop).unwrap_err().kind
}

#[tokio::test]
async fn codings_are_taken_off_in_their_order() {
    let plain = "a body, a body, ".repeat(100).into_bytes();
    let both = zstd(&gzip(&plain));
    let several = [gzip(b"a body, "), gzip(b"in two members")].concat();
    let skipped = [&bytes("502a4d1803000000616263")[..], &zstd(b"behind a frame to skip")].concat();
    let table: [(&[&'static str], Vec<u8>, &[u8]); 10] = [
        (&[], plain.clone(), &plain),
        (&["Identity, identity", ""], plain.clone(), &plain),
        (&["gzip"], gzip(&plain), &plain),
        (&["X-GZIP"], gzip(&plain), &plain),
        (&["identity, zstd"], zstd(&plain), &plain),
        (&["gzip, zstd"], both.clone(), &plain),
        (&["gzip", "zstd"], both, &plain),
        (&["gzip"], several, b"a body, in two members"),
        (&["zstd"], skipped, b"behind a frame to skip"),
        (&["gzip"], Vec::new(), b""),
    ];
    for (codings, packed, plain) in table {
        let held = read(codings, packed).await.unwrap();
        assert_eq!(held.bytes, plain, "{codings:?}");
        let charged = held.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        assert_eq!(charged, plain.len().div_ceil(1024), "charged by what came out");
    }
    let held = read(&["zstd"], bytes(BY_ZSTD)).await.unwrap();
    assert!(held.bytes.starts_with(br#"{"model":"auto","#) && held.bytes.len() == 238);
}

#[tokio::test]
async fn unknown_codings_are_refused_by_name() {
    let lists: [&[&'static str]; 5] = [
        &["br"],
        &["identity, deflate"],
        &["gzip;q=1"],
        &["gzip", "compress"],
        &["gzip,gzip,zstd,gzip"],
    ];
    for codings in lists {
        let failure = read(codings, b"{}".to_vec()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported, "{codings:?}");
        assert_eq!(failure.param.as_deref(), Some("content-encoding"));
    }
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_has_gone_off() {
    let plain = vec![b' '; 8 << 20];
    for (coding, packed) in [("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        assert!(packed.len() < MAX / 8, "{coding}: {}", packed.len());
        assert_eq!(kind(&[coding], packed.clone()).await, FailureKind::TooLarge);
        // The memory of all bodies counts too, and everything comes back.
        let budget = BodyBudget::new(256 * 1024);
        let failure = read_with(&[coding], packed, &budget).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Overloaded);
        assert_eq!(budget.available_bytes(), 256 * 1024);
    }
    // Twice packed: the inner one is a bomb as well.
    let twice = gzip(&gzip(&plain));
    assert_eq!(kind(&["gzip, gzip"], twice).await, FailureKind::TooLarge);
    assert_eq!(kind(&["zstd"], bytes(WIDE_WINDOW)).await, FailureKind::TooLarge);
    // Members without anything inside cost time, not memory.
    assert_eq!(kind(&["gzip"], gzip(b"").repeat(2000)).await, FailureKind::BadRequest);
}

#[tokio::test]
async fn others_have_their_turn_where_nothing_comes_out() {
    // Blocks of deflate that hold nothing: much work without a byte of output.
    let mut packed = gzip(b"")[..10].to_vec();
    packed.extend([0, 0, 0, 0xff, 0xff].repeat(100_000));
    let mut reading = pin!(kind(&["gzip"], packed));
    let mut turns = 0;
    let ended = poll_fn(|cx| match reading.as_mut().poll(cx) {
        Poll::Pending => {
            turns += 1;
            Poll::Pending
        }
        ready @ Poll::Ready(_) => ready,
    });
    assert_eq!(ended.await, FailureKind::BadRequest, "it breaks off");
    assert!(turns > 5, "{turns} turns for others");
}

#[tokio::test]
async fn a_decoder_may_have_to_wait_anywhere() {
    // Every byte of a long header and of the trailer stands once where a sip ends.
    for length in super::SIP - 60..super::SIP + 10 {
        let name = vec![b'n'; length];
        for mut encoder in [
            GzEncoder::new(Vec::new(), Compression::none()),
            GzBuilder::new().filename(name.clone()).write(Vec::new(), Compression::none()),
        ] {
            encoder.write_all(&name).unwrap();
            let held = read(&["gzip"], encoder.finish().unwrap()).await.unwrap();
            assert_eq!(held.bytes, name);
        }
    }
}

#[tokio::test]
async fn broken_bytes_are_refused() {
    let plain = b"a body that is long enough to be cut somewhere";
    for (coding, packed) in [("gzip", gzip(plain)), ("zstd", bytes(BY_ZSTD))] {
        for cut in 1..packed.len() {
            let failure = kind(&[coding], packed[..cut].to_vec()).await;
            assert_eq!(failure, FailureKind::BadRequest, "{coding} cut at {cut}");
        }
        let mut wrong_sum = packed.clone();
        // The last byte of zstd's checksum; gzip's stands before the length.
        let at = if coding == "gzip" { packed.len() - 5 } else { packed.len() - 1 };
        wrong_sum[at] ^= 1;
        assert_eq!(kind(&[coding], wrong_sum).await, FailureKind::BadRequest, "{coding}");
        let trailing = [&packed[..], b"more"].concat();
        assert_eq!(kind(&[coding], trailing).await, FailureKind::BadRequest, "{coding}");
        assert_eq!(kind(&[coding], plain.to_vec()).await, FailureKind::BadRequest, "{coding}");
    }
}

proptest! {
    #[test]
    fn any_bytes_come_through_or_are_refused(
        plain in prop::collection::vec(any::<u8>(), 0..5000),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        packer in 0..2_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (coding, mut packed) =
            if packer == 0 { ("gzip", gzip(&plain)) } else { ("zstd", zstd(&plain)) };
        let held = runtime.block_on(read(&[coding], packed.clone())).unwrap();
        prop_assert_eq!(&held.bytes[..], &plain[..]);
        for (place, byte) in noise {
            let at = place.index(packed.len());
            packed[at] = byte;
        }
        // Never a panic, and never more than the limit.
        if let Ok(held) = runtime.block_on(read(&[coding], packed)) {
            prop_assert!(held.bytes.len() <= MAX);
        }
    }
}
