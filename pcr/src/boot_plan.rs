//! Everything that a boot measures, in order.

mod event;

pub use event::PlannedEvent;
