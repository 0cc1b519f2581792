//! Many runs with one question.

pub mod compare;
