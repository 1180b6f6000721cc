//! What becomes of parameters that are understood and carried by nobody.
//!
//! Law 3 in one place: each such parameter is refused by name or named as a loss, and the
//! caller's [`ParamsMode`] says which. `docs/wire/` has the tables.

use model::{Failure, Loss, LossSet, ParamsMode};

use crate::lenient::PathStyle;

/// Decides by the mode, and collects the losses of one request.
#[derive(Debug)]
pub(crate) struct Uncarried {
    mode: ParamsMode,
    style: PathStyle,
    losses: LossSet,
}

impl Uncarried {
    /// Nothing lost yet.
    pub(crate) const fn new(mode: ParamsMode, style: PathStyle) -> Self {
        Self { mode, style, losses: LossSet::EMPTY }
    }

    /// A parameter without which the answer is still what was asked for: named as a loss, and
    /// refused only in strict mode. `path` is asked for only then.
    pub(crate) fn leave_out(
        &mut self,
        loss: Loss,
        path: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        self.check_strict(path)?;
        self.losses.insert(loss);
        Ok(())
    }

    /// As [`leave_out`](Self::leave_out) for what is kept here, and named as a loss only by an
    /// upstream that has no place for it.
    pub(crate) fn check_strict(&self, path: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.mode == ParamsMode::Strict {
            let why = "is carried to no model, and parameters are strict here";
            return Err(self.style.unsupported(&path(), why));
        }
        Ok(())
    }

    /// A parameter without which the contract of the answer is broken: refused, and left out by
    /// name only in lenient mode.
    pub(crate) fn refuse(&mut self, loss: Loss, path: &str, why: &str) -> Result<(), Failure> {
        if self.mode != ParamsMode::Lenient {
            return Err(self.style.unsupported(path, why));
        }
        self.losses.insert(loss);
        Ok(())
    }

    /// A value that the dialect itself forbids: `failure` says why, and lenient mode goes on
    /// without it by name.
    pub(crate) fn forbid(
        &mut self,
        loss: Loss,
        failure: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        if self.mode != ParamsMode::Lenient {
            return Err(failure());
        }
        self.losses.insert(loss);
        Ok(())
    }

    /// The caller's mode.
    pub(crate) const fn mode(&self) -> ParamsMode {
        self.mode
    }

    /// What was lost.
    pub(crate) const fn losses(&self) -> LossSet {
        self.losses
    }
}
