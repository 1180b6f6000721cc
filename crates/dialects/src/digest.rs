//! A digest of a request body without some of its members.
//!
//! It tells whether two bodies ask the same, whatever the order of their members and however the
//! answer is to come. Nothing is copied: members are hashed as they stand in the body.

use std::hash::{BuildHasher, Hash, Hasher};
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::lenient::Word;

/// The digest of a JSON object but for its members named in `without`; `None` where the body is
/// no JSON object.
pub fn digest<S: BuildHasher>(body: &[u8], without: &[&str], state: &S) -> Option<u64> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let digest = Members { without, state, life: PhantomData }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(digest)
}

struct Members<'s, 'de, S> {
    without: &'s [&'s str],
    state: &'s S,
    life: PhantomData<&'de ()>,
}

impl<'de, S: BuildHasher> DeserializeSeed<'de> for Members<'_, 'de, S> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: BuildHasher> Visitor<'de> for Members<'_, 'de, S> {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        // Added up, so that the order does not matter.
        let mut sum = 0_u64;
        while let Some(key) = map.next_key::<Word<'de>>()? {
            let value = map.next_value::<&RawValue>()?;
            if !self.without.contains(&&*key) {
                let mut hasher = self.state.build_hasher();
                (*key).hash(&mut hasher);
                value.get().hash(&mut hasher);
                sum = sum.wrapping_add(hasher.finish());
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::digest;

    #[test]
    fn only_what_is_asked_counts() {
        let state = RandomState::new();
        let of = |body: &str| digest(body.as_bytes(), &["stream", "max_tokens"], &state);
        let asked = of(r#"{"model":"m","max_tokens":128000,"messages":[{"a":1}],"stream":true}"#);
        assert!(asked.is_some());
        for same in [
            r#"{"model":"m","max_tokens":64000,"messages":[{"a":1}]}"#,
            r#" {"stream" : false, "messages":[{"a":1}] , "model":"m"} "#,
            r#"{"model":"m","messages":[{"a":1}],"str\u0065am":null}"#,
        ] {
            assert_eq!(of(same), asked, "{same}");
        }
        for other in [
            r#"{"model":"m","messages":[{"a":2}]}"#,
            r#"{"model":"m","messages":[{"a":1}],"top_k":5}"#,
            r#"{"model":"m","messages":[{"a":1,"stream":true}]}"#,
            r#"{"model":[{"a":1}],"messages":"m"}"#,
            r#"{"model":"m","model":"m","messages":[{"a":1}]}"#,
            "{}",
        ] {
            assert_ne!(of(other), asked, "{other}");
        }
        for broken in ["", "[]", "5", "{", r#"{"a":1}x"#] {
            assert_eq!(of(broken), None, "{broken}");
        }
    }
}
