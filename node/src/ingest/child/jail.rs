//! How the child limits itself. Called first thing by [`super::serve`], before anything of the file is read.
//!
//! In this order: resources, no dumps, no new privileges, Landlock, the system-call filter. All but Landlock must
//! hold or nothing is read. Without Landlock (a kernel before 5.13, or one started without it) files are read all
//! the same: the filter already forbids to open anything, and the parent's log says so.
//!
//! The filter has two halves. What only an attacker would do ends the process at once, so that it is noticed; what
//! else is not on the list of a reader's calls is answered with "not permitted", so that a newer C library that
//! tries something first and falls back does not break every import.
//!
//! Descriptors are let through by number: the channel, and the one that the file will get. Whoever started the parent
//! may have left others open, which nobody here can close (that would be `unsafe` code); so they cannot be used.

use super::{MEMORY_BYTES_MAX, Task};
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::{collections::BTreeMap, fs::File, io, os::fd::AsRawFd as _};

/// The kernel has no Landlock.
pub(super) const LANDLOCK_NONE: u8 = 0;
/// The kernel has an older one: files are out of reach, perhaps not every socket.
pub(super) const LANDLOCK_PART: u8 = 1;
/// Everything that was asked for.
pub(super) const LANDLOCK_WHOLE: u8 = 2;
/// Open descriptors: standard ones, the socket again, the file.
const DESCRIPTORS_MAX: u64 = 16;

/// The child cannot be limited.
#[derive(Debug, thiserror::Error)]
pub(super) enum JailError {
    /// A resource limit or a flag of the process.
    #[error("the system refuses a limit: {0}")]
    Limit(#[from] rustix::io::Errno),
    /// No further descriptor.
    #[error("the system refuses a descriptor: {0}")]
    Descriptor(#[from] io::Error),
    /// Landlock is there and refuses.
    #[error("Landlock refuses: {0}")]
    Landlock(#[from] RulesetError),
    /// The filter does not compile for this machine.
    #[error("no system-call filter for this processor: {0}")]
    Compile(#[from] BackendError),
    /// The kernel has no filter, or something around this process forbids it.
    #[error("the kernel takes no system-call filter (seccomp): {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Limits this process for good. Returns what Landlock adds.
pub(super) fn limit(task: Task, channel: &File) -> Result<u8, JailError> {
    resources(task)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let landlock = landlock()?;
    // Both halves set "no new privileges" themselves. After the second no other filter can be installed.
    seccompiler::apply_filter_all_threads(&attacker()?)?;
    // A new descriptor gets the lowest number that is free; the next one will be the file's.
    let file = channel.try_clone()?.as_raw_fd();
    seccompiler::apply_filter_all_threads(&reader(channel.as_raw_fd(), file)?)?;
    Ok(landlock)
}

fn resources(task: Task) -> Result<(), JailError> {
    let seconds = task.seconds_max();
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX),
        // The softer end has a signal of its own, which tells the parent what happened.
        (Resource::Cpu, seconds, seconds + 5),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, DESCRIPTORS_MAX, DESCRIPTORS_MAX),
        (Resource::Nproc, 0, 0),
    ];
    for (resource, soft, hard) in limits {
        rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}

/// No rule is added, so all that Landlock knows of is forbidden: paths, ports, signals to others.
pub(super) fn landlock() -> Result<u8, JailError> {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => LANDLOCK_WHOLE,
        RulesetStatus::PartiallyEnforced => LANDLOCK_PART,
        RulesetStatus::NotEnforced => LANDLOCK_NONE,
    })
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, JailError> {
    let filter = SeccompFilter::new(rules, otherwise, listed, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

/// What a reader needs: its two descriptors, memory that is no file and no code, the time, its own end.
fn reader(channel: i32, file: i32) -> Result<BpfProgram, JailError> {
    const ANY: [i64; 19] = [
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_restart_syscall,
        libc::SYS_set_robust_list,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let equal = |index, value: i32| {
        // A negative number is compared as the kernel sees it: 32 bits.
        let value = u64::from(value.cast_unsigned());
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let of = |descriptor| SeccompRule::new(vec![equal(0, descriptor)?]);
    let no_code = || {
        let code = u64::from(libc::PROT_EXEC.cast_unsigned());
        SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(code), 0)
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ANY.into_iter().map(|call| (call, Vec::new())).collect();
    for call in [libc::SYS_read, libc::SYS_readv] {
        rules.insert(call, vec![of(channel)?, of(file)?]);
    }
    for call in [libc::SYS_write, libc::SYS_writev, libc::SYS_recvmsg] {
        rules.insert(call, vec![of(channel)?]);
    }
    for call in [libc::SYS_lseek, libc::SYS_pread64, libc::SYS_fstat] {
        rules.insert(call, vec![of(file)?]);
    }
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![no_code()?, equal(4, -1)?])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![no_code()?])?]);
    // Its own abortion, where memory runs out; no signal to anyone else.
    let own = rustix::process::getpid().as_raw_nonzero().get();
    rules.insert(libc::SYS_tgkill, vec![of(own)?]);
    program(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

/// What no reader does: other files, programs, processes, sockets, the kernel's own insides.
fn attacker() -> Result<BpfProgram, JailError> {
    const CALLS: [i64; 38] = [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_open_by_handle_at,
        libc::SYS_unlinkat,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_mkdirat,
        libc::SYS_renameat2,
        libc::SYS_memfd_create,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_chroot,
        libc::SYS_mount,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pidfd_send_signal,
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
    ];
    #[cfg(target_arch = "x86_64")]
    const OLDER: [i64; 5] = [libc::SYS_open, libc::SYS_creat, libc::SYS_fork, libc::SYS_vfork, libc::SYS_unlink];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [i64; 0] = [];
    let rules = CALLS.into_iter().chain(OLDER).map(|call| (call, Vec::new())).collect();
    program(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}
