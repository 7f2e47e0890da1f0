//! What tests on AWS stand on: an emulator of AWS that runs here (`moto`), and a proxy that does harm (`proxy`).
//! The tests of two crates include this directory, and neither uses all of it.
//!
//! Not here: clients, and anything that knows what the product does with them.

#![allow(dead_code, reason = "shared by the tests of two crates, each of which uses a part")]

pub(crate) mod cloud;
pub(crate) mod moto;
pub(crate) mod proxy;
