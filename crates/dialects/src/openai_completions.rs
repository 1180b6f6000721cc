//! OpenAI's legacy text completions, as we serve them.
//!
//! A prompt becomes a message of the user: hosts know conversations only. Editors that complete
//! code and older libraries still ask like this. Source: the OpenAI API reference
//! ("Completions").

mod reply;
mod server;
mod stream;
mod wire;

pub use reply::write_reply;
pub use server::{TextRequest, read_request};
pub use stream::TextStream;
