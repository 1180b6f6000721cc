//! What Linux says about a process: CPU time and memory, from `/proc/<pid>/stat` and `status`.

use std::fs;
use std::time::Duration;

use crate::error::Outcome;

/// Clock ticks per second in `/proc/<pid>/stat`: fixed at 100 towards user space on Linux
/// (`USER_HZ`, the manual page proc(5)).
const TICKS_PER_SECOND: u64 = 100;

/// CPU time that all threads of a process have used, user and system together, in steps of 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu_time(&stat).ok_or_else(|| format!("/proc/{pid}/stat is not as expected").into())
}

/// The program's name is the second field and may itself hold spaces and brackets, so fields are
/// counted from the last closing bracket: `utime` and `stime` are the 12th and 13th after it.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// Resident at most, since the process started.
    pub(crate) peak: u64,
}

/// Memory of a process now.
pub(crate) fn memory(pid: u32) -> Outcome<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_memory(&status).ok_or_else(|| format!("/proc/{pid}/status is not as expected").into())
}

fn parse_memory(status: &str) -> Option<Memory> {
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory { resident: of("VmRSS:")?, peak: of("VmHWM:")? })
}

/// How many files this process may open, and so its children too.
pub(crate) fn open_files_limit() -> Outcome<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|line| line.split_ascii_whitespace().next());
    match soft {
        Some("unlimited") => Ok(usize::MAX),
        Some(figure) => Ok(figure.parse()?),
        None => Err("/proc/self/limits is not as expected".into()),
    }
}

/// The load average of the last minute, as the kernel writes it.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_brackets() {
        let stat = "42 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 0 0";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(parse_cpu_time("42 (a) S"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_memory(status), Some(Memory { resident: 1 << 20, peak: 2 << 20 }));
        assert_eq!(parse_memory("Name:\tx\n"), None);
    }
}
