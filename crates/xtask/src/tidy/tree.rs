//! The files that the rules look at: everything that people write here, nothing that is built, fetched or data.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// What is built, installed or recorded.
const SKIPPED: [&str; 8] =
    [".git", "target", ".farebox", "node_modules", ".venv", "__pycache__", ".sqlx", "fixtures"];
/// Endings of what people write. Data (JSON, images) is not read.
const READ: [&str; 16] = [
    "rs", "md", "toml", "sh", "sql", "html", "css", "js", "mjs", "ts", "py", "lua", "yml", "yaml", "txt",
    "service",
];

/// One text file.
pub(super) struct Source {
    /// Relative to the root, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("_tests.rs")
    }

    /// The lines before the file's own test module, which by custom is its last item.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = &str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| match pair {
            [attribute, item] => *attribute == "#[cfg(test)]" && item.ends_with('{') && item.contains("mod "),
            _ => false,
        });
        let end = tests.unwrap_or(lines.len());
        lines.into_iter().take(end)
    }
}

/// All files, read once.
pub(super) struct Tree {
    pub(super) files: Vec<Source>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Self { files })
    }

    pub(super) fn get(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<Source>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        // A linked worktree has a file `.git` where others have the folder.
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if kind.is_file() && is_read(&name) {
            // A file that vanishes or is not UTF-8 is not ours to judge.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(Source { path, text });
            }
        }
    }
    Ok(())
}

fn is_read(name: &str) -> bool {
    name.rsplit_once('.').is_none_or(|(stem, ending)| stem.is_empty() || READ.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_module_at_the_end_does_not_count() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n".to_owned();
        assert_eq!(Source { path: "a.rs".into(), text }.product_lines().count(), 2);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_does_not_end_the_count() {
        let text = "#[cfg(test)]\nmod tests;\nfn a() {}\n".to_owned();
        assert_eq!(Source { path: "a.rs".into(), text }.product_lines().count(), 3);
    }

    #[test]
    fn programs_without_an_ending_are_read_and_data_is_not() {
        assert!(is_read("dev") && is_read("Dockerfile") && is_read("lib.rs") && is_read(".npmrc"));
        assert!(!is_read("models.json") && !is_read("logo.png"));
    }
}
