//! What people see: progress while a run goes on, tables of layers and scores afterwards, pictures. Everything here turns what the
//! run recorded into text; nothing here computes with it.

pub mod bench;
pub mod comparison;
pub mod corpus;
pub mod diagnosis;
pub mod evaluation;
pub mod instruments;
pub mod layers;
pub mod number;
pub mod picture;
pub mod plot;
pub mod profile;
pub mod progress;
pub mod range;
pub mod result;
pub mod style;
pub mod table;
pub mod terminal;
pub mod tuning;
