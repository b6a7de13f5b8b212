//! How much memory the container, or whatever group the process is in, may use.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The first version of the kernel's control groups says "no limit" by numbers from here on.
const NO_LIMIT: u64 = 1 << 62;

/// The limit of memory in bytes that the kernel sets for the process, by either version of its control groups:
/// the least of its own group and those around it. `None` without one.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = root.join("sys/fs/cgroup");
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        if controllers.split(',').any(|name| name == "memory") {
            least(&mounts.join("memory"), group, "memory.limit_in_bytes")
        } else if number == "0" && controllers.is_empty() {
            least(&mounts, group, "memory.max")
        } else {
            None
        }
    });
    limits.min()
}

/// The least limit of a group and those around it. A container may see its own group at the mount itself, under
/// whatever name it has outside.
fn least(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let mut folder = mount.to_path_buf();
    let names = Path::new(group).components();
    let mut folders: Vec<PathBuf> = vec![folder.clone()];
    for name in names.filter(|name| matches!(name, Component::Normal(_))) {
        folder.push(name);
        folders.push(folder.clone());
    }
    let limits = folders.iter().filter_map(|folder| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        let limit = text.trim().parse::<u64>().ok()?;
        (limit < NO_LIMIT).then_some(limit)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn limit_with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        limit_below(root.path())
    }

    #[test]
    fn the_least_limit_counts() {
        let own = ("proc/self/cgroup", "0::/pods/one/box\n");
        let outer = ("sys/fs/cgroup/pods/memory.max", "2000000\n");
        let pod = ("sys/fs/cgroup/pods/one/memory.max", "1000000\n");
        let inner = ("sys/fs/cgroup/pods/one/box/memory.max", "max\n");
        assert_eq!(limit_with(&[own, outer, pod, inner]), Some(1_000_000));
        assert_eq!(limit_with(&[own, outer]), Some(2_000_000));
        assert_eq!(limit_with(&[own, inner]), None);
        assert_eq!(limit_with(&[own]), None);
        assert_eq!(limit_with(&[]), None);
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount() {
        let own = ("proc/self/cgroup", "0::/../../elsewhere\n");
        let limit = ("sys/fs/cgroup/memory.max", "5000000\n");
        assert_eq!(limit_with(&[own, limit]), Some(5_000_000));
    }

    #[test]
    fn the_first_version_has_a_mount_for_memory() {
        let own = (
            "proc/self/cgroup",
            "9:name=systemd:/\n5:cpu,memory:/docker/abc\n1:cpuset:/\n0::/\n",
        );
        let group = (
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
            "3000000\n",
        );
        let unlimited = (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(limit_with(&[own, group, unlimited]), Some(3_000_000));
        assert_eq!(limit_with(&[own, unlimited]), None);
    }
}
