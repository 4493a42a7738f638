//! A whole cluster on this machine, as `tools/cluster.py` starts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{model, program, root};

/// One in a folder, which ends with the test.
pub struct Cluster {
    child: Child,
    folder: PathBuf,
}

impl Cluster {
    /// Starts one with the small models, all of whose processes have these variables, and waits until it can run jobs.
    pub fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let _ = (model("tiny-gpt2"), model("tiny-llama"));
        let mut command = Command::new(root().join(".venv/bin/python"));
        command.arg(root().join("tools/cluster.py")).arg("--folder").arg(folder).arg("run");
        command.arg("--programs").arg(program("vitrine").parent().unwrap());
        command.env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.any(|line| line == "ready");
        // What it says later is not wanted, and must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let cluster = Self { child, folder: folder.to_owned() };
        assert!(ready, "the cluster did not start");
        cluster
    }

    /// Returns what `cluster.json` says.
    pub fn about(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join("cluster.json")).unwrap()).unwrap()
    }

    /// Returns the address at which clients reach one of its gateways.
    pub fn gateway(&self) -> String {
        format!("http://{}", setting(&self.folder.join("gateway-1.toml"), "listen"))
    }

    /// Returns where each role shows its metrics.
    pub fn health(&self) -> Vec<String> {
        let files = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let settings = files.filter(|file| file.extension().is_some_and(|extension| extension == "toml"));
        settings.map(|file| setting(&file, "health")).collect()
    }

    /// Returns the process and the address of one of its servers, by its name.
    pub fn server(&self, name: &str) -> (Pid, String) {
        let about = self.about();
        let roles = about["roles"].as_array().unwrap();
        let role = roles.iter().find(|role| role["name"] == name).unwrap_or_else(|| panic!("{name} is none: {about}"));
        let pid = role["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).unwrap();
        (pid, role["address"].as_str().unwrap().to_owned())
    }

    /// Ends it as an operator does, and waits.
    pub fn end(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have ended already, as the test wanted; its processes end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the value of a key at the top of a file of settings.
fn setting(file: &Path, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
    line.trim_matches('"').to_owned()
}
