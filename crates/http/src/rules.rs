//! The rules that may change while the doors are open.
//!
//! A request reads them once, when its head is there, and is treated by what it read until its
//! end: nobody is admitted by one version of the rules and answered by another.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::ParamsMode;

use crate::access::AccessRules;

/// One version of the rules.
#[derive(Clone, Debug)]
pub struct DoorRules {
    /// Who may come in.
    pub access: AccessRules,
    /// What becomes of parameters that cannot be carried, unless the request says it.
    pub params: ParamsMode,
    /// Longest time of a call from its admission to its end.
    pub deadline: Duration,
}

/// The rules that hold now. Clones share them.
#[derive(Clone, Debug)]
pub struct LiveRules {
    now: Arc<ArcSwap<DoorRules>>,
}

impl LiveRules {
    /// Begins with these rules.
    pub fn new(rules: DoorRules) -> Self {
        Self { now: Arc::new(ArcSwap::from_pointee(rules)) }
    }

    /// The rules that hold now; they stay as they are.
    pub fn now(&self) -> Arc<DoorRules> {
        self.now.load_full()
    }

    /// Puts other rules in their place, for every request that comes after.
    pub fn replace(&self, rules: DoorRules) {
        self.now.store(Arc::new(rules));
    }
}
