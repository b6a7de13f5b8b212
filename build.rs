//! Arguments for the linker of the `midge` executable, which make a started server small in memory
//! (docs/performance.md, "Idle memory"). Each is used only if this machine's linker understands it and what
//! it links runs here; an executable without them does the same.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: char = '\u{1f}';

fn main() -> Outcome<()> {
    let order = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("layout/start.ld");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", order.display());
    let is_native = env::var("TARGET")? == env::var("HOST")?;
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|environment| environment == "gnu")
        && env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if env::var("PROFILE")? != "release" || !is_native || !is_gnu {
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
    for argument in wishes {
        if is_understood(&argument)? {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
    Ok(())
}

/// Whether a program that is linked with this argument, by the linker that will link `midge`, runs.
fn is_understood(argument: &str) -> Outcome<bool> {
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
    let linked = compiler.arg(format!("-Clink-arg={argument}")).output()?;
    Ok(linked.status.success() && Command::new(&program).status().is_ok_and(|it| it.success()))
}
