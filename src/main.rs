//! The program `steepest`.

fn main() -> std::process::ExitCode {
    steepest::cli::main()
}
