//! What the pages tell people to type: that there is such a command, and that it does what the page says it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tests::{Conversation, Data, KEY, Server, model, program, root};

/// A fenced block of a page.
struct Block {
    /// What follows the fence: `console`, `sh`, `toml`.
    language: String,
    /// The heading that it stands under.
    heading: String,
    text: String,
}

/// Returns all pages, by their paths from the root.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut folders =
        vec![root().join("docs"), root().join("examples"), root().join("deploy"), root().join("helm/vitrine")];
    let mut files: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    for file in files {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        pages.insert(name, fs::read_to_string(&file).unwrap());
    }
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), String::new(), None::<Block>);
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, Some(language)) => {
                open = Some(Block { language: language.into(), heading: heading.clone(), text: String::new() });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    heading = title.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    blocks
}

/// Returns what a page has between backticks outside of its blocks, and the lines of its blocks of commands.
fn typed(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let outside: String = page.split("```").step_by(2).collect();
    found.extend(outside.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    for block in blocks(page) {
        if ["console", "sh"].contains(&block.language.as_str()) {
            let text = block.text.replace("\\\n", " ");
            found.extend(text.lines().map(|line| line.trim_start_matches("$ ").to_owned()));
        }
    }
    found
}

/// Splits a command line as a shell does, up to a comment, a pipe or another command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (None, '|' | ';' | '&' | '<' | '>') => break,
            (None, '#') if word.is_empty() => break,
            _ => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn vitrine(name: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(program(name));
    for name in ["VITRINE_DATA", "VITRINE_API_KEY", "VITRINE_LISTEN", "VITRINE_CONFIG", "VITRINE_HOST"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_command_and_flag_of_the_pages_is_one() {
    let (mut wrong, mut helps) = (Vec::new(), BTreeMap::new());
    for (page, content) in pages() {
        for line in typed(&content) {
            let mut words = words(&line);
            while words.first().is_some_and(|word| word == "sudo" || word.contains('=')) {
                words.remove(0);
            }
            let Some(name) = words.first().and_then(|word| word.strip_prefix("target/release/").or(Some(word))) else {
                continue;
            };
            let name = name.to_owned();
            if !["vitrine", "vitrine-worker"].contains(&name.as_str()) {
                continue;
            }
            // Verbs are words of the program; what comes after them is the user's.
            let verbs = words[1..].iter().take_while(|word| {
                word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') && !word.starts_with('-')
            });
            let mut verbs: Vec<String> = verbs.take(3).cloned().collect();
            let help = loop {
                let ask = (name.clone(), verbs.clone());
                let help = helps.entry(ask).or_insert_with(|| {
                    let output = vitrine(&name, &[&verbs[..], &["--help".into()]].concat()).output().unwrap();
                    output.status.success().then(|| text(&output.stdout))
                });
                match help {
                    Some(help) => break Some(help.clone()),
                    None if verbs.len() > 1 => drop(verbs.pop()),
                    None => break None,
                }
            };
            let Some(help) = help else {
                wrong.push(format!("{page}: {name} has no such command: {line}"));
                continue;
            };
            // What follows `--` is for a script.
            let own = words.iter().take_while(|word| *word != "--");
            for flag in own.filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                if !help.contains(&format!("--{flag}")) {
                    wrong.push(format!("{page}: `{name} {}` has no --{flag}: {line}", verbs.join(" ")));
                }
            }
        }
    }
    assert!(helps.len() > 30, "only {} commands were found", helps.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_target_of_make_and_every_script_of_the_pages_is_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).unwrap();
    let (mut wrong, mut found) = (Vec::new(), 0);
    for (page, content) in pages() {
        for line in typed(&content) {
            let words = words(line.trim_start_matches("sudo "));
            if words.first().is_some_and(|word| word == "make") {
                for word in &words[1..] {
                    found += 1;
                    let there = match word.split_once('=') {
                        Some((variable, _)) => {
                            makefile.contains(&format!("$({variable}"))
                                || makefile.contains(&format!("$(if $({variable}"))
                        }
                        None => phony.split_whitespace().any(|target| target == word),
                    };
                    if !there {
                        wrong.push(format!("{page}: the Makefile has no {word}: {line}"));
                    }
                }
            }
            for word in words.iter().filter(|word| word.ends_with(".py") || word.ends_with(".sh")) {
                let ours = ["tools/", "deploy/", "helm/", "docs/", "tests/", "examples/"];
                if ours.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '{']) {
                    found += 1;
                    if !root().join(word).is_file() {
                        wrong.push(format!("{page}: there is no {word}"));
                    }
                }
            }
        }
    }
    assert!(found > 40, "only {found} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_files_of_settings_on_the_pages_are_taken_by_who_is_to_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        vitrine("vitrine", &["cert".into(), "dev".into(), folder.path().display().to_string()]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    for name in ["worker.token", "bucket.secret"] {
        fs::write(folder.path().join(name), "a-secret-of-thirty-two-characters\n").unwrap();
    }
    for (name, from) in [
        ("public.crt", "gateway.pem"),
        ("tls.crt", "gateway.pem"),
        ("public.key", "gateway.key"),
        ("tls.key", "gateway.key"),
    ] {
        fs::copy(folder.path().join(from), folder.path().join(name)).unwrap();
    }
    let mut checked = 0;
    for (page, content) in pages() {
        let mut above = String::new();
        for block in blocks(&content).iter().filter(|block| block.language == "toml") {
            let Some(line) = block.text.lines().next().and_then(|line| line.strip_prefix("# vitrine")) else {
                continue;
            };
            let line = format!("vitrine{line}");
            let mut written = block.text.clone();
            if written.contains("as above") {
                written += &above;
            }
            above = block
                .text
                .split_once("[store]")
                .map_or(above, |(_, rest)| format!("[store]{}", rest.split("[gateway]").next().unwrap()));
            let written = written
                .replace("/etc/vitrine/", &format!("{}/", folder.path().display()))
                .replace("/models/gpt2", &model("tiny-gpt2").display().to_string());
            let file = folder.path().join("settings.toml");
            fs::write(&file, written).unwrap();
            let mut arguments: Vec<String> = words(&line)[1..].to_vec();
            *arguments.last_mut().unwrap() = file.display().to_string();
            arguments.push("--check-config".into());
            let output = vitrine(&words(&line)[0], &arguments).output().unwrap();
            assert!(output.status.success(), "{page}: {line}: {}", text(&output.stderr));
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

/// Somebody who follows a page, with an administrator's key.
struct Reader<'a> {
    server: &'a Server,
    /// What stands for what on the page.
    stands: Vec<(String, String)>,
}

impl Reader<'_> {
    fn run(&self, line: &str) -> Output {
        let line = self.stands.iter().fold(line.to_owned(), |line, (page, here)| line.replace(page, here));
        let mut arguments = words(&line);
        assert_eq!(arguments.remove(0), "vitrine", "{line}");
        if arguments[0] == "top" {
            // Without a terminal there is no screen to fill.
            arguments.push("--once".into());
        }
        vitrine("vitrine", &arguments)
            .env("VITRINE_HOST", &self.server.url)
            .env("VITRINE_API_KEY", KEY)
            .output()
            .unwrap()
    }

    /// Runs what a page has under a heading, or on all of it, and compares what is said with what the page says.
    fn follow(&self, page: &str, heading: Option<&str>) {
        let content = fs::read_to_string(root().join(page)).unwrap();
        let mut ran = 0;
        for block in blocks(&content) {
            if block.language != "console" || heading.is_some_and(|heading| heading != block.heading) {
                continue;
            }
            let mut lines = block.text.lines().peekable();
            while let Some(line) = lines.next() {
                let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{page}: output of nothing: {line}"));
                let mut said = Vec::new();
                while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                    said.push(line);
                }
                if command.starts_with("export ") {
                    continue;
                }
                let output = self.run(command);
                let all = format!("{}{}", text(&output.stderr), text(&output.stdout));
                // `vitrine status` ends with 1 where something is wrong, as it is with a node that is drained.
                let good = output.status.success() || command.starts_with("vitrine status");
                assert!(good, "{page}: {command}: {all}");
                // The rows of a table are others than the page's; its columns are not.
                let table = said.first().is_some_and(|line| line.chars().all(|letter| !letter.is_lowercase()));
                for line in if table { &said[..1] } else { &said[..] } {
                    let there = all.lines().any(|got| fixed(got) == fixed(line));
                    assert!(there, "{page}: {command} is to say\n{line}\nand says\n{all}");
                }
                ran += 1;
            }
        }
        assert!(ran > 0, "{page} has no commands under {heading:?}");
    }
}

/// Returns the words of a line that are the same each time: those without digits, and without what the page leaves out.
fn fixed(line: &str) -> Vec<&str> {
    let changing = |word: &&str| !word.chars().any(|letter| letter.is_ascii_digit() || letter == '…');
    line.split_whitespace().filter(changing).collect()
}

fn submit(client: &mut Conversation, directive: &str) -> String {
    client.say(&format!("submit canned:{directive}"));
    client.expect("job ")
}

#[test]
fn what_the_page_of_administration_does_can_be_done_in_its_order() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let mut reader = Reader { server: &server, stands: Vec::new() };
    let content = fs::read_to_string(root().join("docs/administration.md")).unwrap();
    let mut headings: Vec<String> = Vec::new();
    for block in blocks(&content).into_iter().filter(|block| block.language == "console") {
        if headings.last() != Some(&block.heading) {
            headings.push(block.heading);
        }
    }
    assert!(headings.len() >= 8, "{headings:?}");
    for heading in &headings {
        if heading == "Classes" {
            // The page speaks of a tenant for exercises as of one that there is.
            assert!(reader.run("vitrine tenant create course").status.success());
        }
        if heading == "Jobs" {
            assert!(reader.run("vitrine tenant resume lab-b").status.success());
            let made: Value =
                serde_json::from_slice(&reader.run("vitrine key create --tenant lab-b --json").stdout).unwrap();
            let mut client = server.client("poll.py").env("NDIF_API_KEY", made["key"].as_str().unwrap()).start();
            client.expect("here");
            let job = submit(&mut client, &format!("wait {}", data.path("gate").display()));
            let listed = content.lines().find(|line| line.contains(" running ")).unwrap();
            reader.stands.push((listed.split_whitespace().next().unwrap().to_owned(), job.clone()));
            while serde_json::from_slice::<Value>(&reader.run(&format!("vitrine job show {job} --json")).stdout)
                .unwrap()["state"]
                != "running"
            {}
            client.finish();
        }
        reader.follow("docs/administration.md", Some(heading));
    }

    // The file of `vitrine apply`, with a key that there is and a model that lies here.
    let keys: Value = serde_json::from_slice(&reader.run("vitrine key list --tenant lab-b --json").stdout).unwrap();
    let block = blocks(&content).into_iter().find(|block| block.language == "toml").unwrap();
    let written = block
        .text
        .replace("e87edf3755e0", keys["keys"][0]["id"].as_str().unwrap())
        .replace("/models/gpt2", &model("tiny-gpt2").display().to_string());
    let file = data.path("apply.toml");
    fs::write(&file, written).unwrap();
    let apply = |more: &str| {
        let output = reader.run(&format!("vitrine apply {} {more}", file.display()));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    };
    assert!(apply("--dry-run").contains("lab-b"));
}

#[test]
fn what_the_page_of_models_and_nodes_does_can_be_done_in_its_order() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    let reader = Reader { server: &server, stands: Vec::new() };
    // What a node has is told now and then.
    let node = loop {
        let nodes: Value = serde_json::from_slice(&reader.run("vitrine node list --json").stdout).unwrap();
        if let Some(name) = nodes["nodes"][0]["name"].as_str() {
            break name.to_owned();
        }
    };
    let folder = model("tiny-gpt2").display().to_string();
    for line in ["tenant create course-a".to_owned(), format!("model deploy org/large={folder}")] {
        let output = reader.run(&format!("vitrine {line}"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let day = |days: u64| {
        let time = SystemTime::now() + Duration::from_secs(days * 24 * 3600);
        humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned()
    };
    // One node has as many replicas as there can be here, and what the page books lies in its past.
    let stands = [
        ("/models/gpt2", folder),
        ("gpu-17", node),
        ("--replicas 4", "--replicas 1".into()),
        ("2026-12-01", day(200)),
        ("2026-12-02", day(201)),
        ("2026-12-03", day(202)),
    ];
    let stands = stands.map(|(page, here)| (page.to_owned(), here)).to_vec();
    Reader { server: &server, stands }.follow("docs/placement.md", None);
}
