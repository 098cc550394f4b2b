//! What the process needs before it does anything else: its environment, its threads, its files, its cryptography.

use rlimit::{Resource, getrlimit, increase_nofile_limit};
use std::{
    env, io,
    num::NonZero,
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

/// What must stand in the environment before the first thread starts and the first byte is allocated. A variable that is
/// set already is left alone.
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

/// Returns where all of them are set. A running program may not change its environment safely, so the program starts
/// itself anew, once, under the same process id.
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
    let arguments: Vec<_> = arguments.collect();
    let start = |program: &Path| {
        Command::new(program).arg0(&name).args(&arguments).envs(missing.iter().copied()).exec()
    };
    let error = match env::current_exe() {
        Ok(program) => start(&program),
        Err(error) => error,
    };
    // The file may be gone, because an upgrade has replaced it; the kernel still has it.
    let again = start(Path::new(RUNNING));
    let set = VARIABLES.map(|(name, value)| format!("{name}={value}")).join(" ");
    Err(io::Error::other(format!(
        "the program cannot start itself again ({error}; {RUNNING}: {again}): was its file replaced, is /proc not \
         mounted? Start it anew, or with these variables, by which it need not start itself: {set}"
    )))
}

/// Ring is the cryptography of every TLS connection. The first provider that is installed stays, so that each client may
/// call this before it is built.
pub fn install_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The program that runs, whatever became of its file.
const RUNNING: &str = "/proc/self/exe";
/// Beside one thread for each processor: the links to the broker, and those that block.
const MORE_THREADS: usize = 8;

/// Makes as many threads as the program will need, and ends them: without memory for their stacks it would find only
/// servers that seem to be away.
///
/// # Errors
/// The system refuses one.
pub fn threads() -> io::Result<()> {
    let count = thread::available_parallelism().map_or(1, NonZero::get) + MORE_THREADS;
    let all = Arc::new(Mutex::new(()));
    let held = all.lock();
    let started: io::Result<Vec<_>> = (0..count)
        .map(|_| {
            let all = Arc::clone(&all);
            thread::Builder::new().spawn(move || drop(all.lock()))
        })
        .collect();
    drop(held);
    started.map(drop).map_err(|error| {
        let stack = env::var("RUST_MIN_STACK").unwrap_or_default();
        io::Error::other(format!(
            "no memory for {count} threads with stacks of {stack} bytes each ({error}): the stacks are address space, used \
             only where a message nests very deeply. Raise the limit on it (`ulimit -v`, LimitAS= of systemd, \
             vm.overcommit_memory), or the number of threads (`ulimit -u`, TasksMax=, pids of the container)"
        ))
    })
}

/// Raises the number of files and connections that the process may open to what the system allows it: the usual soft
/// limit of 1,024 is for programs that wait with `select`.
pub fn raise_descriptors() {
    // Without it the process works in the limits it has; `doctor` names those that are too low.
    let _ = increase_nofile_limit(rlimit::INFINITY);
}

/// How many the process may open now.
pub fn descriptors() -> u64 {
    // If the limit cannot be read, the smallest usual one.
    getrlimit(Resource::NOFILE).map_or(1024, |(soft, _)| soft)
}
