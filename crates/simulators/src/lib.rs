//! simulators: stub.
