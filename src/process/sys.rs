//! The system calls that no library offers as safe functions: what the process was given by its
//! parent, and what an init is made of. The only module with `unsafe` in it.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc::{self, c_char, c_int};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGSYS, SIGTRAP, SIGTSTP,
    SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The promise that the process has one thread: what forks or changes the environment asks for it.
#[derive(Debug)]
pub struct OneThread(PhantomData<*const ()>); // it stays with its thread

impl OneThread {
    /// Makes the promise.
    ///
    /// # Safety
    /// No other thread exists, and none is started while the promise is kept.
    pub unsafe fn promise() -> Self {
        Self(PhantomData)
    }

    /// Ends the promise.
    pub fn end(self) {}
}

/// A signal's disposition, changed until it is put back.
#[derive(Debug)]
pub struct Disposition {
    signal: Signal,
    before: Option<SigAction>,
}

impl Disposition {
    /// Ignores a signal.
    pub fn ignore(signal: Signal) -> Self {
        Self::set(signal, SigHandler::SigIgn)
    }

    /// Gives a signal its default.
    pub fn default(signal: Signal) -> Self {
        Self::set(signal, SigHandler::SigDfl)
    }

    fn set(signal: Signal, to: SigHandler) -> Self {
        let action = SigAction::new(to, SaFlags::empty(), SigSet::empty());
        // SAFETY: neither of the two runs any code of ours.
        let before = unsafe { sigaction(signal, &action) }.ok();
        Self { signal, before }
    }

    /// Puts it back.
    pub fn give_back(&self) {
        if let Some(before) = &self.before {
            // SAFETY: it is what was in force before; a handler in it could only be one that
            // this process had, and it has none.
            let _ = unsafe { sigaction(self.signal, before) };
        }
    }
}

/// The state that has to be put back before the command starts.
#[derive(Debug)]
pub struct Inherited {
    dispositions: [Disposition; 2],
}

impl Inherited {
    /// Takes over: to be called first of all, while there is one thread.
    pub fn take_over() -> Self {
        occupy_closed_standard_streams();
        Self {
            dispositions: [
                // A reader of the log that goes away must not end the wait.
                Disposition::ignore(SIGPIPE),
                // Where it is ignored, the kernel reaps children, and their status is lost.
                Disposition::default(SIGCHLD),
            ],
        }
    }

    /// Puts everything back; what cannot survive an exec anyway is left to it.
    pub fn give_back(&self) {
        self.dispositions.iter().for_each(Disposition::give_back);
    }
}

/// A closed standard stream would be the number of the next file or socket that is opened, and the
/// log would be written to it. Its place is taken by something that can be neither read nor
/// written and that is closed again by exec, so that the command finds the stream closed.
fn occupy_closed_standard_streams() {
    for number in 0..=2 {
        if is_closed(number) {
            #[cfg(target_os = "linux")]
            let (path, access) = ("/", OFlag::O_PATH);
            #[cfg(not(target_os = "linux"))]
            let (path, access) = ("/dev/null", OFlag::O_RDONLY);
            // The lowest number that is free is the one that is given out.
            if let Ok(placeholder) = open(path, access | OFlag::O_CLOEXEC, Mode::empty()) {
                let _ = placeholder.into_raw_fd();
            }
        }
    }
}

fn is_closed(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes any number, and no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags == -1 && Errno::last() == Errno::EBADF
}

/// Takes variables out of the environment that the command will get.
pub fn remove_from_environment(_: &OneThread, is_removed: impl Fn(&[u8]) -> bool) {
    use std::os::unix::ffi::OsStrExt as _;
    for (name, _) in std::env::vars_os() {
        if is_removed(name.as_bytes()) {
            // SAFETY: as promised, there is no other thread that could read the environment.
            unsafe { std::env::remove_var(name) };
        }
    }
}

/// Overwrites the values of variables of this process with zeros, for a process that stays beside
/// the command: `/proc/PID/environ`, which the command can read, shows this very memory.
pub fn overwrite_in_environment(_: &OneThread, is_overwritten: impl Fn(&[u8]) -> bool) {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: as promised, there is no other thread. The C library has in `environ` an array of C
    // strings that ends with a null pointer, and they are the process's own to write to.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = libc::strlen(*entry);
            let variable = std::slice::from_raw_parts_mut((*entry).cast::<u8>(), length);
            if let Some(at) = variable.iter().position(|byte| *byte == b'=') {
                let (name, value) = variable.split_at_mut(at);
                if is_overwritten(name) {
                    value[1..].fill(0);
                }
            }
            entry = entry.add(1);
        }
    }
}

/// Signals that a process earns by a fault of its own. They are neither blocked nor passed on.
const FAULTS: [Signal; 7] = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS];

/// Signals that do not end a process by default, besides SIGKILL and SIGSTOP, which cannot be
/// caught, and SIGPIPE, which the wait ignores.
const HARMLESS: [Signal; 8] = [
    SIGPIPE, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
];

/// A signal mask that has to be put back; none where the system refuses to change it.
#[derive(Debug)]
pub struct Mask(Option<SigSet>);

/// Blocks every signal but faults, and returns the mask from before.
pub fn block_signals() -> Mask {
    let mut before = SigSet::empty();
    let set = sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&all_but_faults()),
        Some(&mut before),
    );
    Mask(set.is_ok().then_some(before))
}

/// Puts a signal mask back; what has arrived in the meantime takes effect now.
pub fn restore(mask: &Mask) {
    if let Some(before) = &mask.0 {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None);
    }
}

fn all_but_faults() -> SigSet {
    let mut set = SigSet::all();
    for fault in FAULTS {
        set.remove(fault);
    }
    set
}

/// The signals that end a process by default and can be caught; real-time signals, which nix does
/// not know, among them.
fn ending_signals() -> impl Iterator<Item = c_int> {
    let others = FAULTS.into_iter().chain(HARMLESS);
    let others: Vec<_> = others.map(|signal| signal as c_int).collect();
    (1..=last_signal()).filter(move |number| !others.contains(number))
}

#[cfg(target_os = "linux")]
fn last_signal() -> c_int {
    libc::SIGRTMAX()
}

#[cfg(not(target_os = "linux"))]
fn last_signal() -> c_int {
    libc::SIGUSR2
}

/// Sets a handler for signals, apart from those that are ignored. Those that cannot be caught are
/// refused by the system.
///
/// # Safety
/// The handler does nothing that a signal handler may not do.
unsafe fn handle(
    signals: impl Iterator<Item = c_int>,
    handler: extern "C" fn(c_int),
) -> Vec<(c_int, libc::sighandler_t)> {
    let mut before = Vec::new();
    for number in signals {
        // SAFETY: the handler is one by the caller's promise; what was ignored stays so.
        unsafe {
            let old = libc::signal(number, handler as libc::sighandler_t);
            if old == libc::SIG_IGN {
                libc::signal(number, libc::SIG_IGN);
            } else if old != libc::SIG_ERR {
                before.push((number, old));
            }
        }
    }
    before
}

/// Makes signals end this process that would end any other but PID 1. It lasts until exec.
pub fn end_on_signals() {
    extern "C" fn end(signal: c_int) {
        // SAFETY: _exit may be called in a signal handler.
        unsafe { libc::_exit(128 + signal) }
    }
    // SAFETY: the handler does nothing but end the process.
    unsafe { handle(ending_signals(), end) };
}

/// Signals that are caught, in the order in which they arrive.
#[derive(Debug)]
pub struct Caught {
    before: Vec<(c_int, libc::sighandler_t)>,
    reader: OwnedFd,
    _writer: OwnedFd,
}

/// The end of a pipe that the handler writes a signal's number to.
static WRITER: AtomicI32 = AtomicI32::new(-1);

impl Caught {
    /// Catches the signals that would end this process, so that a last line can be logged.
    ///
    /// # Errors
    /// The system's, where there is no descriptor for a pipe.
    pub fn ending() -> io::Result<Self> {
        // So that it can be looked at before there is a signal.
        Self::new(ending_signals(), OFlag::O_NONBLOCK)
    }

    fn new(signals: impl Iterator<Item = c_int>, flags: OFlag) -> io::Result<Self> {
        extern "C" fn note(signal: c_int) {
            let number = signal as u8; // there are no more than 64
            let (writer, errno) = (WRITER.load(Ordering::Relaxed), Errno::last_raw());
            // SAFETY: write may be called in a signal handler. A pipe has room for signals enough.
            unsafe { libc::write(writer, (&raw const number).cast(), 1) };
            Errno::set_raw(errno);
        }
        let (reader, writer) = pipe(flags)?;
        WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
        Ok(Self {
            // SAFETY: the handler only writes to a pipe, and leaves errno as it was.
            before: unsafe { handle(signals, note) },
            reader,
            _writer: writer,
        })
    }

    /// The next signal. Without `O_NONBLOCK` it is waited for.
    fn next(&self) -> io::Result<c_int> {
        let mut number = [0];
        loop {
            match nix::unistd::read(&self.reader, &mut number) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()), // this has the writer
                Ok(_) => return Ok(number[0].into()),
            }
        }
    }

    /// Readable, in a runtime, once there is a signal.
    ///
    /// # Errors
    /// The system's.
    pub fn watch(&self) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
        // SAFETY: a borrowed descriptor is open and the same for as long as it is borrowed.
        let watched =
            unsafe { AsyncFd::register_with_interest(self.reader.as_fd(), Interest::READABLE) };
        Ok(watched?)
    }

    /// Puts the dispositions back, and returns the first signal that was caught.
    pub fn stop(self) -> Option<c_int> {
        for (number, handler) in &self.before {
            // SAFETY: it is the disposition from before.
            unsafe { libc::signal(*number, *handler) };
        }
        self.next().ok()
    }
}

/// A pipe that is closed by exec.
#[cfg(target_os = "linux")]
fn pipe(flags: OFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC | flags)
}

#[cfg(not(target_os = "linux"))]
fn pipe(flags: OFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    let (reader, writer) = nix::unistd::pipe()?;
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(flags))?;
    }
    Ok((reader, writer))
}

/// Ends this process as a signal that was caught would have done. As PID 1, which the kernel spares,
/// by the status that shells have for it.
pub fn end_by(signal: c_int) -> ! {
    // SAFETY: raise takes any number.
    unsafe { libc::raise(signal) };
    exit_now(128 + signal)
}

/// The name of a signal.
pub fn signal_name(number: c_int) -> String {
    let name = Signal::try_from(number).map(Signal::as_str);
    name.map_or_else(|_| format!("signal {number}"), str::to_owned)
}

/// Forks.
///
/// # Errors
/// `EAGAIN` where no more processes are allowed, `ENOMEM`.
pub fn fork(_: &OneThread) -> nix::Result<ForkResult> {
    // SAFETY: with one thread, as promised, the child can do everything that its parent can.
    unsafe { nix::unistd::fork() }
}

/// The signals that are sent to an init, one after the other.
#[derive(Debug)]
pub enum Signals {
    /// They are blocked, and waited for.
    Blocked,
    /// They are caught, where the system refuses to wait for them, as a tight seccomp profile may.
    Caught(Caught),
}

impl Signals {
    /// Those that [`block_signals`] has blocked. Where it was refused they are caught from now on: the
    /// kernel drops what is neither blocked nor caught.
    ///
    /// # Errors
    /// The system's, where there is no way to wait for one.
    pub fn new(mask: &Mask) -> io::Result<Self> {
        match mask.0 {
            Some(_) => Ok(Self::Blocked),
            None => Self::caught(),
        }
    }

    fn caught() -> io::Result<Self> {
        let faults = FAULTS.map(|signal| signal as c_int);
        let others = (1..=last_signal()).filter(|number| !faults.contains(number));
        Ok(Self::Caught(Caught::new(others, OFlag::empty())?))
    }

    /// Waits for a signal.
    ///
    /// # Errors
    /// The system's, where there is no way to wait for one.
    pub fn receive(&mut self) -> io::Result<Received> {
        loop {
            match self {
                Self::Caught(caught) => {
                    let number = caught.next()?;
                    return Ok(Received {
                        number,
                        is_from_kernel: true, // it is only asked for SIGCHLD
                    });
                }
                Self::Blocked => match wait_for_blocked() {
                    Ok(received) => return Ok(received),
                    Err(Errno::EINTR) => {}
                    Err(_) => {
                        *self = Self::caught()?;
                        // Those that have arrived are caught now.
                        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
                    }
                },
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn wait_for_blocked() -> nix::Result<Received> {
    let set = all_but_faults();
    // SAFETY: siginfo_t is plain data for the kernel to fill in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to what they have to be.
    let number = unsafe { libc::sigwaitinfo(set.as_ref(), &raw mut info) };
    Errno::result(number).map(|number| Received {
        number,
        is_from_kernel: info.si_code > 0,
    })
}

#[cfg(not(target_os = "linux"))]
fn wait_for_blocked() -> nix::Result<Received> {
    all_but_faults().wait().map(|signal| Received {
        number: signal as c_int,
        is_from_kernel: signal == SIGCHLD,
    })
}

/// A signal that was sent to this process.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    number: c_int,
    is_from_kernel: bool,
}

impl Received {
    /// Whether the kernel sent it because a child has changed, and no process did.
    pub fn is_about_children(&self) -> bool {
        self.number == libc::SIGCHLD && self.is_from_kernel
    }

    /// Passes it on.
    pub fn pass_on(&self, to: Pid) {
        // SAFETY: kill takes any number. A process that has ended meanwhile is not reaped yet, so
        // that its number is not another's.
        let _ = unsafe { libc::kill(to.as_raw(), self.number) };
    }
}

/// A change of a child's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended, with this exit status, which is 128 and the signal if a signal ended it.
    Ended(i32),
    /// It was stopped, by this signal.
    Stopped(c_int),
}

/// The next change of any child's state; one that has ended is reaped. `None` if there is none.
///
/// # Errors
/// The system's, where it refuses the call.
pub fn next_change() -> nix::Result<Option<(Pid, Change)>> {
    let mut status = 0;
    // nix's own waitpid loses children that a real-time signal has ended.
    // SAFETY: the pointer is to a status.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    let change = if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Ended(128 + libc::WTERMSIG(status))
    } else {
        Change::Ended(libc::WEXITSTATUS(status))
    };
    match Errno::result(pid) {
        Ok(0) | Err(Errno::ECHILD | Errno::EINTR) => Ok(None),
        Ok(pid) => Ok(Some((Pid::from_raw(pid), change))),
        Err(errno) => Err(errno),
    }
}

/// Waits until a child has ended, and leaves it to be reaped: until then its number is its own.
///
/// # Errors
/// The system's, where it refuses the call.
pub fn wait_until_ended(child: Pid) -> nix::Result<()> {
    loop {
        // SAFETY: siginfo_t is plain data for the kernel to fill in.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let (id, options) = (child.as_raw() as libc::id_t, libc::WEXITED | libc::WNOWAIT);
        // SAFETY: the pointer is to what it has to be.
        let result = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, options) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// Reaps a child once it has ended, or with a negative number any child of a process group.
///
/// # Errors
/// `ECHILD` where there is none.
pub fn reap(child: Pid) -> nix::Result<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a status.
        let result = unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            result => return result.map(|_| ExitStatus::from_raw(status)),
        }
    }
}

/// Asks a process to end.
pub fn terminate(pid: Pid) {
    let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
}

/// Stops this process, until another process continues it.
pub fn stop() {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}

/// Continues all processes of a group.
pub fn continue_group(leader: Pid) {
    let _ = nix::sys::signal::killpg(leader, Signal::SIGCONT);
}

/// Ends this process at once, without anything that is done at a process's end.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: it does not return, and nothing is left to be done.
    unsafe { libc::_exit(code) }
}

/// The process group of this process.
pub fn own_group() -> Pid {
    nix::unistd::getpgrp()
}

/// A standard stream that is a terminal with this process group in its foreground.
pub fn terminal_of(group: Pid) -> Option<RawFd> {
    // A group from outside of this process's PID namespace is 0, as are all others from there.
    (0..=2).filter(|_| group.as_raw() > 0).find(|number| {
        // SAFETY: tcgetpgrp takes any number.
        unsafe { libc::tcgetpgrp(*number) == group.as_raw() }
    })
}

/// Brings a process group to the terminal's foreground. SIGTTOU has to be blocked.
pub fn bring_to_foreground(terminal: RawFd, group: Pid) {
    // SAFETY: tcsetpgrp takes any number.
    let _ = unsafe { libc::tcsetpgrp(terminal, group.as_raw()) };
}

/// Makes orphans below this process its children, as they are PID 1's.
pub fn become_subreaper() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Gives back the memory of the program's code and constants: the kernel has mapped far more of
/// the file than is needed from here on, and maps again what is.
pub fn give_back_code() {
    #[cfg(all(target_os = "linux", target_pointer_width = "32"))]
    use libc::Elf32_Phdr as Header;
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    use libc::Elf64_Phdr as Header;

    #[cfg(target_os = "linux")]
    // SAFETY: the program headers are at the address that the kernel gives. The segments that are
    // given back are not writable, so that their pages can be read from the file again.
    unsafe {
        let first = libc::getauxval(libc::AT_PHDR) as *const Header;
        let number = libc::getauxval(libc::AT_PHNUM) as usize;
        if first.is_null() {
            return;
        }
        let headers = std::slice::from_raw_parts(first, number);
        let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
        let base = own.map_or(0, |own| first as usize - own.p_vaddr as usize);
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                let start = base + header.p_vaddr as usize;
                let end = start + header.p_memsz as usize;
                let start = start / page * page;
                libc::madvise(start as *mut _, end - start, libc::MADV_DONTNEED);
            }
        }
    }
}

/// How many more descriptors this process may have, about: what it has been given is not counted.
pub fn free_descriptors() -> usize {
    const HANDED_DOWN: usize = 32;
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    // As wide as the platform's own; "unlimited" is more than fits.
    let soft = usize::try_from(soft).unwrap_or(usize::MAX);
    soft.saturating_sub(HANDED_DOWN)
}
