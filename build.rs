//! Arguments for the linker of the `midge` executable, which make a started server small in memory
//! (docs/performance.md, "Idle memory"). Each is used only if this machine's linker understands it and what
//! it links runs here; an executable without them does the same.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Set to whatever, the linker is asked for nothing: for an executable that is to run on a system with an older C library
/// than the one that builds it.
const PLAIN: &str = "MIDGE_PLAIN_LINK";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: char = '\u{1f}';

fn main() -> Outcome<()> {
    let order = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("layout/start.ld");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", order.display());
    println!("cargo::rerun-if-env-changed={PLAIN}");
    let is_native = env::var("TARGET")? == env::var("HOST")?;
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu")
        && env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    let is_plain = env::var_os(PLAIN).is_some();
    if env::var("PROFILE")? != "release" || !is_native || !is_gnu || is_plain {
        return Ok(());
    }
    let wishes = [
        // What runs at start lies together, so that few pages of the executable are ever touched.
        format!("-Wl,-T,{}", order.display()),
        // The unwinder becomes a part of the executable; a shared object costs pages of its own.
        "-Wl,--whole-archive,-l:libgcc_eh.a,--no-whole-archive".to_owned(),
        // A bit per relocation instead of 24 bytes, for glibc 2.36 and later.
        "-Wl,-z,pack-relative-relocs".to_owned(),
    ];
    let mut granted = Vec::new();
    for argument in wishes {
        granted.push(argument);
        if !are_understood(&granted)? {
            granted.pop();
        }
    }
    for argument in granted {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    Ok(())
}

/// Whether a program that is linked with these arguments, by the linker that will link `midge`, runs.
fn are_understood(arguments: &[String]) -> Outcome<bool> {
    let directory = env::var("OUT_DIR")?;
    let (source, program) = (
        Path::new(&directory).join("probe.rs"),
        Path::new(&directory).join("probe"),
    );
    fs::write(&source, "fn main() {}")?;
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut compiler = Command::new(env::var("RUSTC")?);
    compiler.args(flags.split(FLAG_SEPARATOR).filter(|flag| !flag.is_empty()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg(format!("-Clinker={linker}"));
    }
    compiler.arg("-o").arg(&program).arg(&source);
    let linked = compiler
        .args(arguments.iter().map(|one| format!("-Clink-arg={one}")))
        .output()?;
    Ok(linked.status.success() && Command::new(&program).status().is_ok_and(|it| it.success()))
}
