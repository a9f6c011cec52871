//! The system calls that no library offers as safe functions: what the process was given by its
//! parent, and what an init is made of. The only module with `unsafe` in it.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc::{self, c_char, c_int};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGSYS, SIGTRAP, SIGTSTP,
    SIGTTIN, SIGTTOU, SIGURG, SIGXFSZ,
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
    dispositions: [Disposition; 3],
}

impl Inherited {
    /// Takes over: to be called first of all, while there is one thread.
    pub fn take_over() -> Self {
        occupy_closed_standard_streams();
        Self {
            dispositions: [
                // A log whose reader goes away, or whose file is as large as the limit allows, must
                // not end the wait.
                Disposition::ignore(SIGPIPE),
                Disposition::ignore(SIGXFSZ),
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
pub fn occupy_closed_standard_streams() {
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

/// Signals that a process earns by a fault of its own. The kernel ends it then, even where they are
/// blocked; another process may send them all the same.
const FAULTS: [Signal; 7] = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS];

/// Signals that do not end a wait, besides SIGKILL and SIGSTOP, which cannot be caught: those that do
/// not end a process by default, and those that the wait ignores. SIGWINCH is not among them: it is the
/// stop signal of Apache's images.
const HARMLESS: [Signal; 8] = [
    SIGPIPE, SIGXFSZ, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,
];

/// A signal mask that has to be put back, or the reason why the system does not change it.
#[derive(Debug)]
pub struct Mask(nix::Result<SigSet>);

impl Mask {
    /// The reason why signals are not blocked.
    pub fn refused(&self) -> Option<Errno> {
        self.0.err()
    }
}

/// Blocks every signal, and returns the mask from before.
pub fn block_signals() -> Mask {
    let mut before = SigSet::empty();
    let set = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked()), Some(&mut before));
    Mask(set.map(|()| before))
}

/// Puts a signal mask back; what has arrived in the meantime takes effect now.
pub fn restore(mask: &Mask) {
    if let Ok(before) = &mask.0 {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(before), None);
    }
}

/// Only Linux promises to end a process by a fault that is blocked.
fn blocked() -> SigSet {
    let mut set = SigSet::all();
    if cfg!(not(target_os = "linux")) {
        for fault in FAULTS {
            set.remove(fault);
        }
    }
    set
}

/// The signals that end a wait and can be caught; real-time signals, which nix does not know, among
/// them.
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

/// A signal handler that is given the sender too.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Sets a handler for signals, apart from those that are ignored and those that cannot be caught.
/// Returns the dispositions from before.
///
/// # Errors
/// The system's, where it refuses the call.
///
/// # Safety
/// The handler does nothing that a signal handler may not do.
unsafe fn handle(
    signals: impl Iterator<Item = c_int>,
    handler: Handler,
) -> nix::Result<Vec<(c_int, libc::sigaction)>> {
    let mut before = Vec::new();
    for number in signals {
        // SAFETY: all of it is plain data; the handler is one by the caller's promise.
        let result = unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            let mut new = old;
            new.sa_sigaction = handler as libc::sighandler_t;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            match libc::sigaction(number, std::ptr::null(), &raw mut old) {
                0 if old.sa_sigaction == libc::SIG_IGN => continue,
                0 => match libc::sigaction(number, &raw const new, std::ptr::null_mut()) {
                    0 => Ok(old),
                    _ => Err(Errno::last()),
                },
                _ => Err(Errno::last()),
            }
        };
        match result {
            Ok(old) => before.push((number, old)),
            Err(Errno::EINVAL) => {} // SIGKILL and the like
            Err(errno) => return Err(errno),
        }
    }
    Ok(before)
}

/// The init that this process is below: PID 1, or the one that this process was forked from.
static INIT: AtomicI32 = AtomicI32::new(1);

/// Whether a signal says no more than that a terminal has another size. The kernel sends it, and so do
/// programs that have a terminal of their own, such as sudo. The stop signal of a container comes from
/// outside of its PID namespace, where processes have the number 0 in here, or is passed on by its
/// init.
fn is_resize(info: &libc::siginfo_t) -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: a signal that a process sent holds the process.
    let is_from_init =
        info.si_code <= 0 && [0, INIT.load(Ordering::Relaxed)].contains(&unsafe { info.si_pid() });
    #[cfg(not(target_os = "linux"))]
    let is_from_init = false; // there are no containers
    info.si_signo == libc::SIGWINCH && !is_from_init
}

/// Makes signals end this process that would not do so by themselves: SIGWINCH, and those that the
/// kernel keeps from PID 1. It lasts until exec.
pub fn end_on_signals(is_pid_1: bool) {
    extern "C" fn end(signal: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel gives a valid pointer, and _exit may be called in a signal handler.
        unsafe {
            if !is_resize(&*info) {
                libc::_exit(128 + signal);
            }
        }
    }
    let faults = FAULTS.map(|signal| signal as c_int);
    let signals = ending_signals().chain(faults);
    let signals = signals.filter(|number| is_pid_1 || *number == libc::SIGWINCH);
    // SAFETY: the handler does nothing but end the process.
    let _ = unsafe { handle(signals, end) }; // the wait reports where it is refused
}

/// Signals that are caught, in the order in which they arrive.
#[derive(Debug)]
pub struct Caught {
    before: nix::Result<Vec<(c_int, libc::sigaction)>>,
    reader: OwnedFd,
    _writer: OwnedFd,
}

/// The end of a pipe that the handler writes a signal to.
static WRITER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(_: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let (writer, errno) = (WRITER.load(Ordering::Relaxed), Errno::last_raw());
    // SAFETY: the kernel gives a valid pointer, and write may be called in a signal handler. It takes
    // all or nothing, since a pipe does so with a length like this.
    unsafe { libc::write(writer, info.cast(), size_of::<libc::siginfo_t>()) };
    Errno::set_raw(errno);
}

extern "C" fn note_unless_resize(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives a valid pointer.
    if !is_resize(unsafe { &*info }) {
        note(signal, info, context);
    }
}

impl Caught {
    /// Catches the signals that end a wait, so that a last line can be logged.
    ///
    /// # Errors
    /// The system's, where there is no descriptor for a pipe.
    pub fn ending() -> io::Result<Self> {
        // So that it can be looked at before there is a signal.
        Self::new(ending_signals(), note_unless_resize, OFlag::O_NONBLOCK)
    }

    /// `handler` is one of the two above.
    fn new(
        signals: impl Iterator<Item = c_int>,
        handler: Handler,
        flags: OFlag,
    ) -> io::Result<Self> {
        let (reader, writer) = pipe(flags)?;
        // A handler that waited for room would wait for the reader, which it has interrupted.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        WRITER.store(writer.as_raw_fd(), Ordering::Relaxed);
        Ok(Self {
            // SAFETY: the handlers only write to a pipe, and leave errno as it was.
            before: unsafe { handle(signals, handler) },
            reader,
            _writer: writer,
        })
    }

    /// The reason why none is caught.
    pub fn refused(&self) -> Option<Errno> {
        self.before.as_ref().err().copied()
    }

    /// The next signal. Without `O_NONBLOCK` it is waited for.
    fn next(&self) -> io::Result<Received> {
        // SAFETY: siginfo_t is plain data.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::siginfo_t>();
        loop {
            let reader = self.reader.as_raw_fd();
            // SAFETY: there is room for as much.
            let read = unsafe { libc::read(reader, (&raw mut info).cast(), size) };
            match Errno::result(read) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()), // this has the writer
                Ok(_) => return Ok(Received(info)),
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
    pub fn stop(self) -> Option<Received> {
        for (number, before) in self.before.iter().flatten() {
            // SAFETY: it is the disposition from before.
            unsafe { libc::sigaction(*number, before, std::ptr::null_mut()) };
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
    use nix::fcntl::FdFlag;

    let (reader, writer) = nix::unistd::pipe()?;
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(flags))?;
    }
    Ok((reader, writer))
}

/// Forks.
///
/// # Errors
/// `EAGAIN` where no more processes are allowed, `ENOMEM`.
pub fn fork(_: &OneThread) -> nix::Result<ForkResult> {
    // SAFETY: with one thread, as promised, the child can do everything that its parent can.
    let fork = unsafe { nix::unistd::fork() }?;
    if fork.is_child() {
        INIT.store(nix::unistd::getppid().as_raw(), Ordering::Relaxed);
    }
    Ok(fork)
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
            Ok(_) => Ok(Self::Blocked),
            Err(_) => Self::caught(),
        }
    }

    fn caught() -> io::Result<Self> {
        // To return from the handler of a fault would repeat it.
        let faults = FAULTS.map(|signal| signal as c_int);
        let others = (1..=last_signal()).filter(|number| !faults.contains(number));
        let caught = Caught::new(others, note, OFlag::empty())?;
        match caught.refused() {
            Some(errno) => Err(errno.into()),
            None => Ok(Self::Caught(caught)),
        }
    }

    /// Waits for a signal.
    ///
    /// # Errors
    /// The system's, where there is no way to wait for one.
    pub fn receive(&mut self) -> io::Result<Received> {
        loop {
            match self {
                Self::Caught(caught) => return caught.next(),
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

fn wait_for_blocked() -> nix::Result<Received> {
    // SAFETY: siginfo_t is plain data for the kernel to fill in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    #[cfg(target_os = "linux")]
    // SAFETY: both pointers are to what they have to be.
    Errno::result(unsafe { libc::sigwaitinfo(blocked().as_ref(), &raw mut info) })?;
    #[cfg(not(target_os = "linux"))]
    {
        info.si_signo = blocked().wait()? as c_int;
        info.si_code = c_int::from(info.si_signo == libc::SIGCHLD); // as if from the kernel
    }
    Ok(Received(info))
}

/// The name of a signal.
pub fn signal_name(number: c_int) -> String {
    let name = Signal::try_from(number).map(Signal::as_str);
    name.map_or_else(|_| format!("signal {number}"), str::to_owned)
}

/// A signal that was sent to this process.
#[derive(Clone, Copy)]
pub struct Received(libc::siginfo_t);

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, code {}", self.name(), self.0.si_code)
    }
}

impl Received {
    /// Its name.
    pub fn name(&self) -> String {
        signal_name(self.0.si_signo)
    }

    /// Ends this process as the signal would have done. As PID 1, which the kernel spares, by the
    /// status that shells have for it.
    pub fn end(self) -> ! {
        // SAFETY: raise takes any number.
        unsafe { libc::raise(self.0.si_signo) };
        exit_now(128 + self.0.si_signo)
    }

    /// Whether the kernel sent it because a child has changed, and no process did.
    pub fn is_about_children(&self) -> bool {
        self.0.si_signo == libc::SIGCHLD && self.0.si_code > 0
    }

    /// Whether it says no more than that a terminal has another size.
    pub fn is_resize(&self) -> bool {
        is_resize(&self.0)
    }

    /// Whether this process has earned it by writing to where nothing can be written.
    pub fn is_from_itself(&self) -> bool {
        // SAFETY: a signal that a process sent holds the process.
        self.0.si_code <= 0 && unsafe { self.0.si_pid() } == std::process::id() as i32
    }

    /// Passes it on, with the value that it may have.
    ///
    /// # Errors
    /// The system's.
    pub fn pass_on(&self, to: Pid) -> nix::Result<()> {
        #[cfg(target_os = "linux")]
        if self.0.si_code == libc::SI_QUEUE {
            let (call, pid, number) = (libc::SYS_rt_sigqueueinfo, to.as_raw(), self.0.si_signo);
            // SAFETY: the pointer is to what it has to be.
            let result = unsafe { libc::syscall(call, pid, number, &raw const self.0) };
            // Where too many are queued it can be sent without its value.
            if result == 0 {
                return Ok(());
            }
        }
        self.send(to)
    }

    /// Passes it on to a whole process group; to its leader where there is no such group.
    ///
    /// # Errors
    /// The system's.
    pub fn pass_on_to_group(&self, leader: Pid) -> nix::Result<()> {
        match self.send(Pid::from_raw(-leader.as_raw())) {
            Err(Errno::ESRCH) => self.pass_on(leader),
            result => result,
        }
    }

    fn send(&self, to: Pid) -> nix::Result<()> {
        // SAFETY: kill takes any number. A process that has ended meanwhile is not reaped yet, so
        // that its number is not another's.
        Errno::result(unsafe { libc::kill(to.as_raw(), self.0.si_signo) }).map(drop)
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

/// A child whose state has changed. It stays so until the change is taken.
///
/// # Errors
/// The system's, where it refuses the call.
pub fn changed_child() -> nix::Result<Option<Pid>> {
    let change = wait_for(libc::P_ALL, 0, libc::WNOWAIT)?;
    Ok(change.map(|(pid, _)| pid))
}

/// The change of a child's state; one that has ended is reaped. `None` if it goes on meanwhile.
///
/// # Errors
/// The system's, where it refuses the call.
pub fn take_change(child: Pid) -> nix::Result<Option<Change>> {
    let change = wait_for(libc::P_PID, child.as_raw() as libc::id_t, 0)?;
    Ok(change.map(|(_, change)| change))
}

/// nix's own loses children that a real-time signal has ended.
fn wait_for(
    of: libc::idtype_t,
    id: libc::id_t,
    flags: c_int,
) -> nix::Result<Option<(Pid, Change)>> {
    let flags = flags | libc::WEXITED | libc::WSTOPPED | libc::WNOHANG;
    // SAFETY: siginfo_t is plain data for the kernel to fill in.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        (libc::waitid(of, id, &raw mut info, flags), info)
    };
    match Errno::result(result) {
        Ok(_) => {}
        Err(Errno::ECHILD | Errno::EINTR) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // SAFETY: it is what these fields were filled in for, or zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let change = match info.si_code {
        libc::CLD_STOPPED => Change::Stopped(status),
        libc::CLD_EXITED => Change::Ended(status),
        _ => Change::Ended(128 + status),
    };
    Ok((pid != 0).then(|| (Pid::from_raw(pid), change)))
}

/// Whether a child, which leads a process group and has not been reaped, has become another program.
pub fn has_executed(child: Pid) -> bool {
    // The system lets a process choose the group of a child until then.
    nix::unistd::setpgid(child, child).is_err()
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

/// Whether this process's session has a terminal.
pub fn has_terminal() -> bool {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// Brings a process group to the terminal's foreground. SIGTTOU has to be blocked.
pub fn bring_to_foreground(terminal: RawFd, group: Pid) {
    // SAFETY: tcsetpgrp takes any number.
    let _ = unsafe { libc::tcsetpgrp(terminal, group.as_raw()) };
}

/// Makes orphans below this process its children, as they are PID 1's.
///
/// # Errors
/// The system's.
pub fn become_subreaper() -> nix::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
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
