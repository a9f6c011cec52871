//! The program. Everything is in the library; this is how it gets hold of the process.
//!
//! There is no Rust `main`: before that, Rust's runtime ignores SIGPIPE and opens closed standard
//! streams, and afterwards it cannot be known how they were. The command has to find them as they
//! were.
#![no_main]
#![allow(unsafe_code)] // the C entry point

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use compose_wait::process::exit::Exit;
use compose_wait::process::sys::OneThread;

/// The C entry point. The exit status is [`compose_wait::process::exit::Exit`]'s.
///
/// # Safety
/// `arguments` holds `count` C strings, and the process has one thread, as the C runtime promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let args = (0..count as usize)
        // SAFETY: there are this many, by the contract above.
        .map(|i| unsafe { CStr::from_ptr(*arguments.add(i)) })
        .map(|arg| OsStr::from_bytes(arg.to_bytes()).to_owned());
    // SAFETY: by the contract above.
    let thread = unsafe { OneThread::promise() };
    // A panic must not cross into C. The hook has logged it.
    let run = AssertUnwindSafe(|| compose_wait::run(args, thread));
    catch_unwind(run).map_or(1, Exit::code)
}
