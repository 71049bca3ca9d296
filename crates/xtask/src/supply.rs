//! stub
pub(crate) fn run(_root: &std::path::Path) -> anyhow::Result<Vec<String>> {
    Ok(vec![])
}
