//! Keeps `docs/failures.md` true: every test it names is in the tree, and every row has one or says why not.

use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The code spans of a cell.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_public_failure_names_tests_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/failures.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| seen at"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 50, "{} rows", rows.len());
    let mut named = 0;
    for row in &rows {
        let [source, what, here, tests] = row.as_slice() else { panic!("four cells: {row:?}") };
        assert!(!source.is_empty() && !what.is_empty() && !here.is_empty(), "{row:?}");
        let tests = spans(tests);
        let why_not =
            here.contains("there is no") || here.contains("there are no") || here.contains("measured");
        assert!(!tests.is_empty() || why_not, "neither a test nor a reason: {row:?}");
        for test in tests {
            let (path, name) = test.split_once("::").unwrap_or_else(|| panic!("path::name: {test}"));
            let source = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            assert!(source.contains(&format!("fn {name}(")), "there is no {test}");
            named += 1;
        }
    }
    println!("{} failures, {named} tests named", rows.len());
}
