//! Every input the fuzzer keeps is run by its target, without the fuzzer.

#![allow(
    clippy::unwrap_used,
    reason = "whatever is not as expected fails the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use xray_tests::fuzz::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_every_corpus() {
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for path in inputs {
            let input = fs::read(&path).unwrap();
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_corpus_has_a_target_and_every_target_a_corpus() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(stems("corpus"), names);
    assert_eq!(stems("fuzz_targets"), names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let path = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        let body = fs::read_to_string(path).unwrap();
        assert!(
            body.contains(&format!("xray_tests::fuzz::{name}")),
            "{name}"
        );
    }
}
