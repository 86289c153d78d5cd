//! `cargo bench` measures at full size; without `--bench` (as under `cargo test`) it is a smoke test.

fn main() -> std::process::ExitCode {
    benches::main()
}
