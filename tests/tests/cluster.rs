//! J1 to J3, S1, S2 on a whole cluster of real programs: what was accepted ends once, with the right answer, whoever is
//! killed, stopped or cut off meanwhile. `tools/chaos.py` does it; `make chaos` does more of it. `tools/drills.py` does what
//! operators plan for, S2 and S5, and what administrators and operators do every day: keys, quotas, and models where not all have room.

use std::process::{Command, Stdio};

use tests::{model, program, root};

/// Its kills, stops and cuts take about a minute and a half.
const KILLS: u32 = 20;
const SEED: u32 = 20_261_130;

/// Returns a command that runs a script of `tools` with the client's Python.
fn tool(script: &str) -> Command {
    let python = std::env::var_os("VITRINE_PYTHON").map_or_else(|| root().join(".venv/bin/python"), Into::into);
    assert!(python.exists(), "{} is missing: run `make setup-tests`", python.display());
    let mut command = Command::new(python);
    command.arg(root().join("tools").join(script)).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}

#[test]
fn j1_j3_s1_s2_twenty_kills_among_stops_and_cuts_lose_and_double_nothing() {
    // Both are looked for, so that what is missing is named.
    let (_, programs) = (model("tiny-gpt2"), program("vitrine"));
    let mut command = tool("chaos.py");
    command.arg("--programs").arg(programs.parent().unwrap());
    command.args(["--kills", &KILLS.to_string(), "--seed", &SEED.to_string()]);
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(!said.contains("has no failpoints"), "the programs were built without the tests: {said}");
    let last = said.lines().last().unwrap();
    let accepted: u32 = last.strip_prefix("accepted ").unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(accepted > 20, "only {accepted} jobs were accepted, too few to show anything");
    assert_eq!(last, format!("accepted {accepted}, ended {accepted}, lost 0, doubled 0, wrong 0"));
}

#[test]
fn s2_s5_an_upgrade_a_lost_majority_of_etcd_and_what_operators_do_lose_nothing_and_run_nothing_again() {
    let (_, programs) = (model("tiny-gpt2"), program("vitrine"));
    let output = tool("drills.py").arg("--programs").arg(programs.parent().unwrap()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    assert!(output.status.success(), "{said}\n{errors}");
    let last = said.lines().last().unwrap();
    let accepted: u32 = last.strip_prefix("accepted ").unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(accepted > 50, "only {accepted} jobs were accepted, too few to show anything");
    assert_eq!(last, format!("accepted {accepted}, ended {accepted}, lost 0, doubled 0, wrong 0, given out again 0"));
}

#[test]
fn what_looks_at_the_history_finds_what_is_wrong_in_it() {
    let output = tool("history.py").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
