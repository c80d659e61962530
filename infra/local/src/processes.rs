//! Processes, as `/proc` shows them: who carries the stack's mark, who holds a port, and signals.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::sleep;

use crate::state::State;

/// The environment variable by which the stack's processes are known again. PostgreSQL overwrites its environment and
/// is found by its own pid file.
pub(crate) const MARK: &str = "INTAKE_STACK";

/// A process of the stack.
pub(crate) struct Process {
    pub(crate) pid: u32,
    environment: Vec<u8>,
}

impl Process {
    /// Whether it runs a function.
    pub(crate) fn is_function(&self) -> bool {
        self.environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"AWS_LAMBDA_RUNTIME_API="))
    }
}

/// Every process with the mark of the stack in this folder.
pub(crate) fn marked(state: &State) -> Result<Vec<Process>> {
    let mark = format!("{MARK}={}", state.root().display()).into_bytes();
    let own = std::process::id();
    let carries = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|entry| entry == mark).then_some(Process { pid, environment })
    };
    Ok(pids()?.filter(|pid| *pid != own).filter_map(carries).collect())
}

/// Whether the command line of a process names this path.
pub(crate) fn names(pid: u32, path: &Path) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == path.as_os_str().as_encoded_bytes()))
}

/// Asks a process to end: SIGTERM.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// SIGINT; to PostgreSQL, a fast shutdown.
pub(crate) fn interrupt(pid: u32) {
    signal(pid, Signal::INT);
}

/// SIGUSR1; to the emulator, a request to save its state.
pub(crate) fn nudge(pid: u32) {
    signal(pid, Signal::USR1);
}

/// SIGKILL.
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// A process that has ended in the meantime is as good as signalled.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = identity(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until the processes are gone; returns those that are still there.
pub(crate) async fn gone(pids: &[u32], patience: Duration) -> Vec<u32> {
    let deadline = Instant::now() + patience;
    loop {
        let left: Vec<u32> = pids.iter().copied().filter(|pid| alive(*pid)).collect();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process runs, and is not one that ended and is not waited for yet.
pub(crate) fn alive(pid: u32) -> bool {
    let zombie = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    identity(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !zombie()
}

fn identity(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn pids() -> Result<impl Iterator<Item = u32>> {
    Ok(std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// The process that listens on a TCP port, in words, as far as this user may see.
pub(crate) fn listener(port: u16) -> Option<String> {
    let sockets: Vec<PathBuf> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect();
    let holds = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
        files.is_ok_and(|files| {
            files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|target| sockets.contains(&target)))
        })
    };
    let pid = pids().ok()?.find(holds)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (process {pid})", name.trim()))
}

/// The inode of a line of `/proc/net/tcp`, if it is a socket that listens (state 0A) on the port.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (_, hex) = local.rsplit_once(':')?;
    (*state == "0A" && u16::from_str_radix(hex, 16).ok()? == port).then(|| (*inode).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_net_tcp_gives_the_inode_of_its_listener_alone() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        assert_eq!(listening_inode(line, 8000).as_deref(), Some("4242"));
        assert_eq!(listening_inode(line, 8001), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 8000), None);
    }

    #[test]
    fn the_process_that_holds_a_port_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listener(socket.local_addr().unwrap().port()).unwrap();
        assert!(found.contains(&std::process::id().to_string()), "{found}");
    }
}
