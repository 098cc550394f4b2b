//! What must stand in the environment before the first thread starts and the first byte is allocated. A
//! running program may not change its environment safely, so the program starts itself anew, once, under the
//! same process id.

use std::{env, io, os::unix::process::CommandExt, process::Command};

/// A variable that whoever runs the program has set is left alone.
const VARIABLES: [(&str, &str); 3] = [
    // Room on the stack of every thread. The AMQP parser follows nested headers by recursion, and a message of
    // a stranger nests as many levels as RabbitMQ's usual frame of 128 KiB holds: 26,208 arrays, which a debug
    // build parses in 279 MiB. An overflow cannot be caught, and the message would come again. It is address
    // space: memory is used as deep as a stack really goes.
    ("RUST_MIN_STACK", "402653184"),
    // The allocator takes memory when it is used, not 32 MiB at a time.
    ("MIMALLOC_EAGER_COMMIT", "0"),
    ("MIMALLOC_ARENA_EAGER_COMMIT", "0"),
];

/// Returns where all of them are set.
///
/// # Errors
/// The program cannot be started anew.
pub fn environment() -> io::Result<()> {
    let missing: Vec<_> = VARIABLES.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    Err(Command::new(env::current_exe()?).arg0(name).args(arguments).envs(missing).exec())
}
