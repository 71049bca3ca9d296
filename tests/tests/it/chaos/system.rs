//! What the system knows of a gateway: memory and descriptors.

use e2e::Stack;
use std::collections::BTreeSet;
use std::path::Path;

/// Resident memory of a gateway.
pub(super) fn resident_kib(stack: &Stack, gateway: usize) -> u64 {
    let id = stack.gateway(gateway).unwrap().process.id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Open descriptors of a gateway, but for its pool of database connections, which is filled by need.
pub(super) fn descriptors(stack: &Stack, gateway: usize) -> usize {
    let id = stack.gateway(gateway).unwrap().process.id();
    let pool = sockets_to(stack.wires().unwrap().postgres.address().port());
    let entries = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| !pool.contains(&inode(link))).count()
}

/// `socket:[123]` is 123; anything else is nothing.
fn inode(link: &Path) -> String {
    let text = link.to_string_lossy();
    text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).unwrap_or_default().to_owned()
}

/// Sockets of this machine whose other end is a port, by their inodes.
fn sockets_to(port: u16) -> BTreeSet<String> {
    let wanted = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let to = rows.filter(|row| row.get(2).is_some_and(|far| far.ends_with(&wanted)));
    to.filter_map(|row| row.get(9).map(|inode| (*inode).to_owned())).collect()
}
