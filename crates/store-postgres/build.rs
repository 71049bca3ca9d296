//! Tells cargo that the embedded migrations live outside of this crate: a new file there rebuilds it.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    writeln!(std::io::stdout(), "cargo:rerun-if-changed=../../migrations")
}
