//! What Linux tells about a process and its sockets.

use std::fs;
use std::io;
use std::process::Command;

/// This program, to be run once more.
pub(crate) fn again() -> io::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// A line of `/proc/self/status` in kB, such as `VmRSS` or `VmHWM`, or a plain
/// number, such as `Threads`.
pub(crate) fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).expect(field)
}

/// Open file descriptors of this process.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Datagrams that the kernel dropped at the UDP socket on this port of
/// 127.0.0.1, whoever owns it.
pub(crate) fn drops(port: u16) -> u64 {
    row(port).map_or(0, |(_, drops)| drops)
}

/// Whether somebody has bound this port of 127.0.0.1.
pub(crate) fn is_bound(port: u16) -> bool {
    row(port).is_some()
}

/// Bytes of the receive buffer in use there, as the kernel counts.
pub(crate) fn buffered(port: u16) -> u64 {
    row(port).map_or(0, |(bytes, _)| bytes)
}

fn row(port: u16) -> Option<(u64, u64)> {
    let table = fs::read_to_string("/proc/net/udp").expect("Linux");
    let address = format!("0100007F:{port:04X}");
    // Columns: sl local remote st queues tr tm retrnsmt uid timeout inode ref pointer drops
    let mut rows = table.lines().map(str::split_whitespace);
    let mut row = rows.find(|row| row.clone().nth(1) == Some(&address))?;
    let queues = row.nth(4)?;
    let (_, received) = queues.split_once(':')?;
    let bytes = u64::from_str_radix(received, 16).ok()?;
    Some((bytes, row.nth(7)?.parse().ok()?))
}

/// Sends a signal, such as `STOP`.
pub(crate) fn signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    let status = kill
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
}
