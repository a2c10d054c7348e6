//! Phones on one side of a gateway, an echo engine on the other, and a meter between.
//!
//! One thread plays both sides, so one clock stamps a frame when it leaves its phone, when the engine
//! hears it and when it is back. See `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a load generator"
)]

mod engine;
mod marker;
mod meter;
mod options;
mod phone;
mod report;
mod run;
mod sip;

use std::process::ExitCode;

use options::{HELP, Options};

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    match run::run(&options) {
        Ok(mut result) => {
            let json = result.json(&options);
            if options.json {
                println!("{json}");
            } else {
                print!("{}", report::table(&json));
            }
            if result.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
