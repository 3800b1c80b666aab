//! ZEO, the database server of the ZODB, in Rust. All of it is in the library, where a fuzzer can call it.

use std::process::ExitCode;

fn main() -> ExitCode {
    rzeo::main()
}
