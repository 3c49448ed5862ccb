//! Data for tests.

use std::path::PathBuf;

/// A file of the specification's data: committed under testdata where its licence allows that, else beside the project. `None`, and a
/// line that says so, where it is not there.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = name.rsplit('/').next().unwrap_or(name);
    let found = [
        root.join("testdata/tensors").join(file),
        root.join("testdata/cluster").join(name),
        root.join("../shared/data").join(name),
    ]
    .into_iter()
    .find(|p| p.exists());
    if found.is_none() {
        eprintln!("skipped: {name} is not at ../shared/data (its licence or size keeps it out of the project)");
    }
    found
}
