//! Writes the generated parts of the documentation, which come from the table of kinds:
//! `cargo run --example docs`. A kind that has no page in `docs/targets` gets one.

mod pages;

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in pages::all(root)? {
        if page.is_stale() {
            page.write()?;
            println!("{}", page.path.display());
        }
    }
    Ok(())
}
