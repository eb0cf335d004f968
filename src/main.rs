//! Parses the command line and runs it; nothing else.

fn main() -> std::process::ExitCode {
    gatefold::cli::main()
}
