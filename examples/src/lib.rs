//! What readers run: one binary for each thing to see; here is the sample app that it is shown on,
//! and what some of them share.

pub mod load;
pub mod sample_app;
pub mod scaling;
pub mod screen;
pub mod server;
pub mod words;
