//! Replays the inputs that fuzzing has kept: the functions of the fuzz targets, with the stable compiler
//! and without a fuzzer.

#[cfg(test)]
#[path = "src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "the fuzz targets reach it, which are another crate's"
)]
mod checks;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::checks;

    /// Gives every kept input of a target to its function.
    fn replay(target: &str, check: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).expect("a folder of kept inputs") {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            // The panic of the check itself does not tell which input it was.
            let outcome = std::panic::catch_unwind(|| check(&bytes));
            assert!(outcome.is_ok(), "{} fails", path.display());
            count += 1;
        }
        assert!(count > 0, "{} holds nothing", folder.display());
    }

    macro_rules! replays {
        ($($target:ident)*) => {
            const TARGETS: &[&str] = &[$(stringify!($target)),*];

            $(
                #[test]
                fn $target() {
                    replay(stringify!($target), checks::$target);
                }
            )*
        };
    }

    replays! {
        client_parser connection login connect_options configuration certificate_names subjects
        transforms route_parser routing redact
    }

    #[test]
    fn every_target_is_replayed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(TARGETS.contains(&&*name), "{name} is not replayed");
        }
    }
}
