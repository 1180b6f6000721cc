//! The house is what its papers say.
//!
//! Compares the crate graph with ARCHITECTURE.md, checks that every path named in a document
//! exists, that files stay small, that both READMEs say the same, and that settings and losses are
//! documented.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test may stop at the first surprise, and our own files are in lower case"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files that git tracks or would track, relative to the root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    listed.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect()
}

fn documents() -> Vec<String> {
    files().into_iter().filter(|file| file.ends_with(".md")).collect()
}

/// Our crates by folder name, with the folder names of those that they import.
fn crate_graph() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    let packages = metadata["packages"].as_array().expect("packages");
    let folder_of = |manifest: &str| {
        let folder = Path::new(manifest).parent()?;
        let parent = folder.parent()?.file_name()?;
        (parent == "crates")
            .then(|| folder.file_name().map(|n| n.to_string_lossy().into_owned()))?
    };
    let folders: BTreeMap<String, String> = packages
        .iter()
        .filter_map(|package| {
            let folder = folder_of(package["manifest_path"].as_str()?)?;
            Some((package["name"].as_str()?.to_owned(), folder))
        })
        .collect();
    packages
        .iter()
        .filter_map(|package| {
            let folder = folders.get(package["name"].as_str()?)?.clone();
            let imports = package["dependencies"]
                .as_array()?
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| folders.get(dependency["name"].as_str()?).cloned())
                .collect();
            Some((folder, imports))
        })
        .collect()
}

/// The words in backticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_crate_graph_is_the_picture() {
    let architecture = read("ARCHITECTURE.md");
    let mut floors = BTreeMap::new();
    let mut pictured = BTreeMap::new();
    for line in architecture.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() != 6 {
            continue;
        }
        let name = cells[1].trim_matches('`').to_owned();
        floors.insert(name.clone(), cells[2].parse::<u8>().expect("a floor"));
        let imports: BTreeSet<String> = ticked(cells[3]).into_iter().map(str::to_owned).collect();
        pictured.insert(name, imports);
    }
    let graph = crate_graph();
    assert_eq!(pictured, graph, "the table of ARCHITECTURE.md against the manifests");
    for (name, imports) in &graph {
        for import in imports {
            assert!(floors[import] < floors[name], "{name} imports its sibling {import}");
        }
    }
    for (floor, line) in architecture.lines().filter_map(|line| {
        let (floor, names) = line.split_once("   ")?;
        Some((floor.parse::<u8>().ok()?, names))
    }) {
        let drawn: BTreeSet<&str> = line.split_whitespace().collect();
        let listed: BTreeSet<&str> =
            floors.iter().filter(|(_, on)| **on == floor).map(|(name, _)| name.as_str()).collect();
        assert_eq!(drawn, listed, "floor {floor} of the picture");
    }
    let deny = read("deny.toml");
    for name in graph.keys().filter(|name| !["model", "mcptb"].contains(&name.as_str())) {
        assert!(
            deny.contains(&format!("crate = \"mcptb-{name}\", wrappers")),
            "{name} in deny.toml"
        );
    }
}

#[test]
fn files_are_small_and_say_what_they_are() {
    for file in files().iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file);
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{file} has {lines} lines");
        assert!(!file.ends_with("/mod.rs"), "{file}: name it after its folder");
        let head = text.lines().find(|line| !line.starts_with("#!") && !line.is_empty());
        assert!(head.is_some_and(|line| line.starts_with("//!")), "{file} has no //! head");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let (_, dependencies) = manifest.split_once("[workspace.dependencies]").expect("a section");
    let (dependencies, _) = dependencies.split_once("\n[").expect("a next section");
    for line in dependencies.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        let ours = line.contains("path = \"crates/");
        assert!(ours || line.contains(" # "), "no reason: {line}");
        assert!(!line.contains("git ="), "a git dependency: {line}");
    }
}

#[test]
fn every_path_in_the_documents_exists() {
    const FOLDERS: [&str; 7] =
        ["crates/", "docs/", "benches/", "conformance/", "fuzz/", "tools/recorder/", ".ci/"];
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap_or(Path::new(""));
        let mut named: Vec<(PathBuf, String)> = ticked(&text)
            .into_iter()
            .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
            .filter(|word| !word.contains(['*', '{', '<', '…', ' ', '\n']))
            .map(|word| (root().join(word), word.to_owned()))
            .collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                named.push((root().join(folder).join(target), target.to_owned()));
            }
        }
        for (path, word) in named {
            if !path.exists() {
                missing.push(format!("{document}: {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "paths that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn both_readmes_say_the_same() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    let headings = |text: &str| -> Vec<usize> {
        let mut fenced = false;
        text.lines()
            .filter(|line| {
                fenced ^= line.trim_start().starts_with("```");
                !fenced && line.starts_with('#')
            })
            .map(|line| line.chars().take_while(|char| *char == '#').count())
            .collect()
    };
    assert_eq!(headings(&english), headings(&chinese), "the headings' levels");
    let rows = |text: &str| text.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&chinese), "the tables' rows");
    let fences =
        |text: &str| text.lines().filter(|line| line.trim_start().starts_with("```")).count();
    assert_eq!(fences(&english), fences(&chinese), "the code blocks");
}

#[test]
fn every_setting_is_documented() {
    let settings = read("crates/mcptb/src/settings.rs");
    let variables: BTreeSet<&str> = settings
        .split(|char: char| !(char.is_ascii_uppercase() || char == '_'))
        .filter(|word| word.starts_with("MCPTB_") && word.len() > "MCPTB_".len())
        .collect();
    assert!(variables.len() > 20, "found only {variables:?}");
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme);
        for variable in &variables {
            assert!(text.contains(variable), "{readme} does not name {variable}");
        }
    }
}

#[test]
fn every_loss_is_documented() {
    let text: String = documents()
        .iter()
        .filter(|document| document.starts_with("docs/wire/"))
        .map(read)
        .collect();
    for loss in model::Loss::ALL {
        assert!(text.contains(&format!("`{}`", loss.as_str())), "docs/wire/ lacks {loss:?}");
    }
}
