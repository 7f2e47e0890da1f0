//! The live view of a data directory, without a terminal: what there is to see (`view`), and how it is drawn (`draw`).
//! Not here: the terminal, its keys and when to look again (`commands::top`).

mod draw;
mod samples;
mod view;

pub use draw::{LEAST_HEIGHT, LEAST_WIDTH, draw};
pub use samples::{Column, Rates, Sample, Samples};
pub use view::{Spans, View, Watch};
