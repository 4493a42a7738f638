//! The directions that ARCHITECTURE.md promises, read from `cargo metadata`.

#[path = "architecture/floors.rs"]
mod floors;
#[path = "architecture/named.rs"]
mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What cargo says of each member of the workspace.
fn packages() -> Vec<serde_json::Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("cargo metadata lists packages").clone()
}

/// Direct dependencies of each member of the workspace, those for its tests apart.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let packages = packages();
    let direct = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().expect("a package lists its dependencies").iter();
        all.filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .map(|dependency| dependency["name"].as_str().expect("a dependency has a name").to_owned())
            .collect()
    };
    packages
        .iter()
        .map(|package| (package["name"].as_str().expect("a package has a name").to_owned(), direct(package)))
        .collect()
}

/// Members that a member depends on, however indirectly, itself included.
fn reach<'a>(all: &'a BTreeMap<String, BTreeSet<String>>, from: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(member) = open.pop() {
        if found.insert(member) {
            open.extend(
                all.get(member).into_iter().flatten().map(String::as_str).filter(|name| all.contains_key(*name)),
            );
        }
    }
    found
}

#[test]
fn each_heavy_dependency_stays_in_its_place() {
    let all = dependencies();
    let places: [(&str, &[&str]); 8] = [
        ("prost", &["proto"]),
        ("axum", &["gateway"]),
        ("redb", &["store"]),
        ("etcd-client", &["store"]),
        ("rustls", &["tls"]),
        ("figment", &["config"]),
        ("tch", &["kernels", "libtorch", "models", "torch"]),
        ("ruff_python_parser", &["program"]),
    ];
    for (dependency, allowed) in places {
        let users: Vec<_> =
            all.iter().filter(|(_, names)| names.contains(dependency)).map(|(name, _)| name.as_str()).collect();
        assert!(!users.is_empty(), "nobody depends on {dependency}: this check has lost its object");
        assert!(
            users.iter().all(|user| allowed.contains(user)),
            "{dependency} is named by {users:?}, not only by {allowed:?}"
        );
    }
}

#[test]
fn pure_crates_have_no_runtime_and_no_tensors() {
    let all = dependencies();
    for pure in ["ids", "placement", "program", "interpreter", "nnsight", "explain"] {
        for member in reach(&all, pure) {
            for heavy in ["tokio", "tch", "prost", "axum", "redb", "object_store"] {
                assert!(!all[member].contains(heavy), "{pure} reaches {heavy} through {member}");
            }
        }
    }
}

#[test]
fn what_the_server_computes_with_knows_no_users() {
    let all = dependencies();
    let below = [("libtorch", ["kernels", "torch"].as_slice()), ("kernels", &["torch"]), ("torch", &["models"])];
    for (member, above) in below {
        let reached = reach(&all, member);
        let known: Vec<_> = above.iter().filter(|other| reached.contains(**other)).collect();
        assert!(known.is_empty(), "{member} depends on {known:?}");
    }
    for member in ["libtorch", "kernels"] {
        let reached = reach(&all, member);
        for other in ["interpreter", "program", "engine"] {
            assert!(!reached.contains(other), "{member} reaches {other}");
        }
    }
}

#[test]
fn gateway_scheduler_and_worker_do_not_depend_on_each_other() {
    let all = dependencies();
    let roles = ["gateway", "scheduler", "worker"];
    for role in roles {
        let reached = reach(&all, role);
        let others: Vec<_> = roles.iter().filter(|other| **other != role && reached.contains(**other)).collect();
        assert!(others.is_empty(), "{role} depends on {others:?}");
    }
}

#[test]
fn only_the_worker_links_libtorch() {
    let all = dependencies();
    for member in ["gateway", "scheduler", "cli"] {
        let reached = reach(&all, member);
        assert!(!reached.contains("libtorch") && !reached.contains("models"), "{member} links libtorch");
    }
}

#[test]
fn no_program_that_people_are_to_run_has_failpoints() {
    let turned_on = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("a package lists its dependencies").clone();
        let mut on = dependencies.iter().filter(|dependency| dependency["name"] == "failpoints");
        let by_itself = on.any(|dependency| dependency["features"] != serde_json::json!([]));
        let default = package["features"]["default"].as_array().is_some_and(|default| !default.is_empty());
        let knows = dependencies.iter().any(|dependency| dependency["name"] == "failpoints");
        by_itself || (default && (knows || package["name"] == "failpoints"))
    };
    let packages = packages();
    let users: Vec<_> = packages.iter().filter(|package| turned_on(package)).map(|package| &package["name"]).collect();
    assert_eq!(users, ["tests"], "only these may turn failpoints on, for themselves or by default");
}
