//! Tests come with the fakes.
