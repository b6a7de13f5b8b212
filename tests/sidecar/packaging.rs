//! What Midge is delivered in: image, manifests and unit, as far as they can be checked without the platforms
//! that they are for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::health::{monitoring, page, skip};
use super::midge::{Process, program};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join("packaging").join(path)).unwrap()
}

fn text(output: &Output) -> String {
    let streams = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

const MANIFESTS: [&str; 2] = ["kubernetes/sidecar.yaml", "kubernetes/cluster.yaml"];

/// The configuration that stands in a manifest.
fn configuration(manifest: &str) -> String {
    let mut lines = manifest
        .lines()
        .skip_while(|line| *line != "  nats.conf: |")
        .skip(1);
    let mut configuration = String::new();
    while let Some(line) = lines.next().and_then(|line| line.strip_prefix("    ")) {
        configuration.push_str(line);
        configuration.push('\n');
    }
    assert!(configuration.contains("listen: "), "{configuration}");
    configuration
}

#[test]
fn configurations_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nats.conf");
    let manifests = MANIFESTS.map(|path| configuration(&read(path)));
    for configuration in manifests.into_iter().chain([read("nats.conf")]) {
        fs::write(&file, &configuration).unwrap();
        let mut command = Command::new(program());
        command.arg("-t").arg("-c").arg(&file);
        command
            .env("CLUSTER_PASSWORD", "secret")
            .env("MIDGE_SERVER_NAME", "midge-0");
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}\n{configuration}",
            text(&output)
        );
    }
}

/// Every page that a probe asks for is there.
#[test]
fn probes_ask_for_what_there_is() {
    let server = Process::start("http: \"127.0.0.1:-1\"");
    let address = monitoring(&server);
    let mut asked = 0;
    for manifest in MANIFESTS.map(read) {
        let paths = manifest.lines().filter_map(|line| {
            let line = line.trim();
            let check = line.strip_prefix("command: [\"/midge\", \"healthcheck\", \"");
            let page = line.strip_prefix("httpGet: { path: ");
            let end = |character| [',', '"'].contains(&character);
            check.or(page)?.trim_start_matches('"').split(end).next()
        });
        for path in paths {
            // Not started yet is an answer as well.
            let expected = if path.contains("routes=1") {
                "503"
            } else {
                "200"
            };
            let answer = page(address, path);
            assert!(
                answer.starts_with(&format!("HTTP/1.0 {expected}")),
                "{path}: {answer}"
            );
            asked += 1;
        }
    }
    assert_eq!(asked, 6, "probes of the two manifests");
}

/// A Python that has a program of the test's.
fn python_with(module: &str) -> Option<PathBuf> {
    let prepared = root().join("tests/peers/.cache/python/bin/python3");
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        let output = command.args(["-c", &format!("import {module}")]).output();
        output.is_ok_and(|output| output.status.success())
    };
    [prepared, "python3".into()].into_iter().find(has)
}

/// By the schemas of Kubernetes itself, without fields that it does not know.
#[test]
fn manifests_follow_the_schema() {
    let Some(python) = python_with("kubernetes_validate") else {
        return skip("the Python package kubernetes-validate is not there");
    };
    let validate = |manifest: &Path| {
        let mut command = Command::new(&python);
        let arguments = ["-m", "kubernetes_validate", "--strict"];
        command.args(arguments).arg(manifest).output().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let misspelt = directory.path().join("misspelt.yaml");
    for manifest in MANIFESTS {
        let output = validate(&root().join("packaging").join(manifest));
        assert!(output.status.success(), "{manifest}: {}", text(&output));
        let resources = read(manifest).matches("\nkind: ").count();
        assert_eq!(text(&output).matches(" passed ").count(), resources);
        let wrong = read(manifest).replace("failureThreshold:", "failureTreshold:");
        fs::write(&misspelt, wrong).unwrap();
        assert!(!validate(&misspelt).status.success(), "{manifest}");
    }
}

fn analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).arg(unit).output();
    if output.is_err() {
        skip("systemd-analyze is not there");
    }
    output.ok()
}

#[test]
fn the_unit_is_valid_and_exposes_little() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("midge.service");
    let binary = fs::canonicalize(program()).unwrap();
    let written = read("systemd/midge.service");
    let command = format!("ExecStart={}", binary.display());
    let installed = written.replace("ExecStart=/usr/bin/midge", &command);
    assert_ne!(written, installed);
    fs::write(&unit, installed).unwrap();
    let Some(output) = analyze(&["verify", "--man=no"], &unit) else {
        return;
    };
    assert!(
        output.status.success() && text(&output).is_empty(),
        "{}",
        text(&output)
    );
    // From 0, which exposes nothing, to 10; a service without any restriction has 9.6. In tenths.
    let most = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    let output = analyze(&most, &unit).unwrap();
    assert!(output.status.success(), "{}", text(&output));
    // A directive that systemd does not know would only be warned about.
    let misspelt = unit.with_file_name("misspelt.service");
    fs::write(
        &misspelt,
        fs::read_to_string(&unit)
            .unwrap()
            .replace("UMask=", "UMsak="),
    )
    .unwrap();
    let output = analyze(&["verify", "--man=no"], &misspelt).unwrap();
    assert!(text(&output).contains("UMsak"), "{}", text(&output));
}

/// What the image is built of is sent to the builder, and is enough for Cargo.
#[test]
fn the_image_is_built_of_what_is_there() {
    let dockerfile = read("Dockerfile");
    let instructions: Vec<&str> = dockerfile
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ' ']))
        .collect();
    let known = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "USER",
        "EXPOSE",
        "ENV",
        "HEALTHCHECK",
        "ENTRYPOINT",
    ];
    for instruction in &instructions {
        let word = instruction.split(' ').next().unwrap();
        assert!(known.contains(&word), "{instruction}");
    }
    let compiler = include_str!("../../Cargo.toml")
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    assert_eq!(
        instructions[0],
        format!("FROM rust:{compiler}-alpine AS build")
    );
    let last = instructions
        .iter()
        .rposition(|line| line.starts_with("FROM "));
    let (build, image) = instructions.split_at(last.unwrap());
    assert!(build.contains(&"COPY . ."));
    assert_eq!(image[0], "FROM scratch");
    assert!(image.contains(&"COPY --from=build /midge /midge"));
    assert!(image.contains(&"ENTRYPOINT [\"/midge\"]"));

    let context = tempfile::tempdir().unwrap();
    let ignored = read("Dockerfile.dockerignore");
    for path in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        let place = context.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        assert!(root().join(path).exists(), "{path}");
        symlink(root().join(path), place).unwrap();
    }
    for copied in image.iter().filter_map(|line| line.strip_prefix("COPY ")) {
        let source = copied.split(' ').next().unwrap();
        let is_there = source.starts_with("--from=") || context.path().join(source).exists();
        assert!(is_there, "{copied}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version=1",
        "--manifest-path",
    ]);
    let output = cargo
        .arg(context.path().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
