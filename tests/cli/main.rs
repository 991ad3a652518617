//! The real program, driven from outside. One binary, one file a subject.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod architecture;
mod bad_input;
mod bench;
mod data;
mod download;
mod evaluate;
mod finetune;
mod guard;
mod harness;
mod hub;
mod journey;
mod minutes;
mod precision;
mod presets;
mod resume;
mod server;
mod tiny;
mod weights;
