//! Parses the command line and runs it; nothing else.

/// A request makes some hundred small allocations, and the default allocator of Linux took a seventh of the machine in a rush.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    gatefold::cli::main()
}
