//! TEMPORARY
use crate::ToolTable;
use model::*;
use std::borrow::Cow;
#[derive(Clone, Debug)]
pub struct NonceSecret(model::Secret<[u8; 32]>);
impl NonceSecret {
    pub fn new(b: [u8; 32]) -> Self {
        Self(model::Secret::new(b))
    }
}
#[derive(Debug)]
pub struct ToolPrompt<'r> {
    pub r: &'r CompletionRequest,
}
#[derive(Debug)]
pub struct PromptedReply {
    pub text: String,
    pub calls: Vec<ToolCall>,
    pub losses: LossSet,
}
impl<'r> ToolPrompt<'r> {
    pub fn new(
        request: &'r CompletionRequest,
        _t: &'r ToolTable<'r>,
        _s: &NonceSecret,
        _k: &str,
    ) -> Self {
        Self { r: request }
    }
    pub fn instructions(&self) -> String {
        String::new()
    }
    pub fn reminder(&self) -> String {
        String::new()
    }
    pub fn stop(&self) -> &str {
        "</x>"
    }
    pub fn escape<'t>(&self, t: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(t)
    }
    pub fn push_calls(&self, _c: &[&ToolCall], _o: &mut String) {}
    pub fn push_result(&self, _c: &ToolCall, _t: &str, _e: bool, _o: &mut String) {}
    pub fn read(&self, t: &str) -> PromptedReply {
        PromptedReply { text: t.to_owned(), calls: vec![], losses: LossSet::EMPTY }
    }
}
