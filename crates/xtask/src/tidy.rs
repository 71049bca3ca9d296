//! `xtask tidy`: the rules of this house that no compiler and no lint knows. Also a test, so that the runner says it.
//!
//! It reads text and manifests, never types: a rule that clippy can check belongs to `clippy.toml`.
//! Each rule is a function from the tree to sentences; no sentence, no breach.

mod crates;
mod text;
mod tree;

use std::path::Path;

/// Every breach of every rule, as `path: what is wrong`, sorted.
///
/// # Errors
/// When the tree or a manifest cannot be read.
pub(crate) fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let tree = tree::Tree::read(root)?;
    let mut breaches = crates::breaches(&tree)?;
    breaches.extend(text::breaches(&tree));
    breaches.sort();
    breaches.dedup();
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let breaches = super::run(&crate::root()).unwrap();
        assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
    }
}
