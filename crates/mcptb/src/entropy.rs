//! The randomness of keys, drawn from the system.

use gateway::admin::Randomness;
use gateway::keys::token::Entropy;
use model::Secret;

/// The system's own source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn entropy(&self) -> Option<Entropy> {
        let (mut secret, mut id) = ([0; 32], [0; 12]);
        getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut id)).ok()?;
        Some(Entropy { secret: Secret::new(secret), id })
    }
}
