//! The program. Everything is in the library; this is how it gets hold of the process.
//!
//! There is no Rust `main`: before that, Rust's runtime ignores SIGPIPE and opens closed standard
//! streams, and afterwards nobody knows how they were. The command has to find them as they were.
#![no_main]
#![allow(unsafe_code)] // the C entry point

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The C entry point. The exit status is [`compose_wait::exit::Exit`]'s.
///
/// # Safety
/// `argv` holds `argc` C strings, as the C runtime promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let args = (0..argc as usize)
        // SAFETY: that is what was promised.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .map(|arg| OsStr::from_bytes(arg.to_bytes()).to_owned());
    // A panic must not cross into C. The hook has told of it.
    catch_unwind(AssertUnwindSafe(|| compose_wait::run(args))).map_or(1, |exit| exit.code())
}
