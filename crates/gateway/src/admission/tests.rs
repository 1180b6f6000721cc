//! Laws of admission.
