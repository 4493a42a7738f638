//! Models whose weights several processes hold, of one machine or as workers of several: the client cannot tell, and what a
//! process costs is no job.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Conversation, Data, Server, children, http, memory, model, program, smollm2};

fn hosted(name: &str, folder: &Path, ranks: u32) -> [String; 2] {
    hosted_as(name, folder, "float32", ranks)
}

fn hosted_as(name: &str, folder: &Path, dtype: &str, ranks: u32) -> [String; 2] {
    ["--model".into(), format!("{name}={},dtype={dtype},ranks={ranks}", folder.display())]
}

fn start(data: &Data, models: &[[String; 2]]) -> Server {
    let arguments: Vec<&str> = models.iter().flatten().map(String::as_str).collect();
    data.up().key().one_thread().arguments(&arguments).start()
}

#[test]
fn a_model_in_pieces_is_the_same_model_to_the_client() {
    let data = Data::default();
    let names = ["tiny-gpt2", "tiny-llama", "tiny-gemma3", "tiny-qwen3-moe"];
    let mut models = Vec::new();
    for (name, ranks) in names.into_iter().zip([2, 3, 4, 2]) {
        models.push(hosted(&format!("whole/{name}"), &model(name), 1));
        models.push(hosted(&format!("pieces/{name}"), &model(name), ranks));
    }
    // One whose layers are brought when they are used is in no pieces, and as little to be told from others.
    let streamed = "streamed-llama";
    models.push(hosted(&format!("whole/{streamed}"), &model("tiny-llama"), 1));
    let folder = model("tiny-llama");
    models.push(["--model".into(), format!("pieces/{streamed}={},dtype=float32,residency=stream", folder.display())]);
    let server = start(&data, &models);
    let all = [names.as_slice(), &[streamed]].concat();
    let said = server.client("sharding.py").arguments(&[&["compare"], all.as_slice()].concat()).succeed();
    assert_eq!(said.lines().filter(|line| line.starts_with("same ")).count(), all.len());
    assert_eq!(children(server.children()[0]).len(), 1 + 2 + 3 + 1);
}

#[test]
fn a_model_in_few_bits_is_the_same_model_in_pieces_to_the_client() {
    let data = Data::default();
    let names = [("tiny-gpt2", "int8"), ("tiny-llama", "nf4"), ("tiny-qwen3-moe", "nf4")];
    let mut models = Vec::new();
    for (name, dtype) in names {
        models.push(hosted_as(&format!("whole/{name}"), &model(name), dtype, 1));
        models.push(hosted_as(&format!("pieces/{name}"), &model(name), dtype, 2));
    }
    let server = start(&data, &models);
    let said =
        server.client("sharding.py").arguments(&["compare", "tiny-gpt2", "tiny-llama", "tiny-qwen3-moe"]).succeed();
    assert_eq!(said.lines().filter(|line| line.starts_with("same ")).count(), names.len());
}

/// Waits until a job has begun.
fn until_running(server: &Server, job: &str) {
    let began = Instant::now();
    loop {
        let answer = http::get(&server.url, &format!("/v1/jobs/{job}")).json();
        match answer["state"].as_str() {
            Some("running") => return,
            state => assert!(began.elapsed() < Duration::from_secs(60), "job {job} is {state:?}: {answer}"),
        }
    }
}

fn generate(client: &mut Conversation) -> String {
    client.say("generate");
    client.expect("job ")
}

fn tokens(client: &mut Conversation, job: &str) -> String {
    client.say(&format!("poll {job}"));
    client.expect("tokens ")
}

#[test]
fn a_rank_that_is_killed_or_stops_costs_no_job_and_changes_no_value() {
    let data = Data::default();
    let pieces = hosted("pieces/smollm2", &smollm2(), 2);
    let server = start(&data, &[pieces, hosted("whole/tiny-gpt2", &model("tiny-gpt2"), 1)]);
    let mut client = server.client("sharding.py").arguments(&["lead"]).start();
    client.expect("here");
    let job = generate(&mut client);
    let expected = tokens(&mut client, &job);
    for signal in [Signal::KILL, Signal::STOP] {
        let worker = server.children();
        let ranks = children(worker[0]);
        assert_eq!(ranks.len(), 1);
        let jobs = [generate(&mut client), generate(&mut client)];
        until_running(&server, &jobs[0]);
        let began = Instant::now();
        kill_process(ranks[0], signal).unwrap();
        client.say("trace");
        client.expect("traced ");
        for job in &jobs {
            assert_eq!(tokens(&mut client, job), expected, "after {signal:?}");
        }
        println!("{signal:?}: {:.1} s until both generations had ended", began.elapsed().as_secs_f64());
        assert_ne!(server.children(), worker, "the worker has ended with its rank");
        assert!(!Path::new(&format!("/proc/{}", ranks[0])).exists(), "and its rank with it");
    }
    client.finish();
}

/// More than half of what SmolLM2 takes, and less than all.
const HALF: &str = "400M";

/// A worker beside the server's own, as another machine would have it. It ends when this is dropped.
struct Other {
    name: &'static str,
    child: Child,
}

impl Other {
    /// Joins a server whose own worker was started with such arguments and variables.
    fn join(name: &'static str, (scheduler, token): &(String, String)) -> Self {
        let mut command = Command::new(program("vitrine-worker"));
        command.args(["run", "--scheduler", scheduler, "--name", name, "--model-memory", HALF]);
        command.args(["--ranks-listen", "127.0.0.1:0"]).env("VITRINE_WORKER_TOKEN", token).env("OMP_NUM_THREADS", "1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { name, child }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what a process of the server's needs to be one of its workers: the scheduler's address, and the token.
fn way_in(worker: Pid) -> (String, String) {
    let parts = |file: &str| {
        let text = std::fs::read(format!("/proc/{}/{file}", worker.as_raw_nonzero())).unwrap();
        text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>()
    };
    let scheduler = parts("cmdline").into_iter().skip_while(|part| part != "--scheduler").nth(1).unwrap();
    let token = parts("environ").into_iter().find_map(|it| it.strip_prefix("VITRINE_WORKER_TOKEN=").map(str::to_owned));
    (scheduler, token.unwrap())
}

/// Returns the nodes that have a model in some stage.
fn nodes_with(server: &Server, model: &str, stage: &str) -> Vec<String> {
    let shown = http::get(&server.url, &format!("/v1/models/{}", model.replace('/', "%2F"))).json();
    assert_eq!(shown["ranks"], 2, "{shown}");
    let nodes = shown["nodes"].as_array().unwrap().iter().filter(|node| node["stage"] == stage);
    nodes.map(|node| node["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_that_no_worker_has_room_for_is_held_by_two_and_the_loss_of_one_costs_no_job_and_changes_no_value() {
    let (data, name) = (Data::default(), "pieces/smollm2");
    let models = [hosted(name, &smollm2(), 2), hosted("whole/tiny-gpt2", &model("tiny-gpt2"), 1)];
    let arguments: Vec<&str> = models.iter().flatten().map(String::as_str).collect();
    let mut up = data.up().key().one_thread().arguments(&arguments).arguments(&["--model-memory", HALF]);
    up.command.env("VITRINE_RANKS_LISTEN", "127.0.0.1:0");
    let server = up.start();
    let way_in = way_in(server.children()[0]);
    let mut others = ["second", "third"].map(|name| Other::join(name, &way_in));
    let mut client = server.client("sharding.py").arguments(&["lead"]).start();
    client.expect("here");
    let job = generate(&mut client);
    let expected = tokens(&mut client, &job);
    for signal in [Signal::KILL, Signal::STOP] {
        let jobs = [generate(&mut client), generate(&mut client)];
        until_running(&server, &jobs[0]);
        tests::until("a worker with a rank", || nodes_with(&server, name, "rank").len() == 1);
        let (leader, holder) = (nodes_with(&server, name, "ready"), nodes_with(&server, name, "rank").remove(0));
        assert!(leader.len() == 1 && leader[0] != holder, "{leader:?} and {holder}");
        let process = match others.iter().find(|other| other.name == holder) {
            Some(other) => Pid::from_child(&other.child),
            None => server.children()[0],
        };
        let began = Instant::now();
        kill_process(process, signal).unwrap();
        for job in &jobs {
            let state = || http::get(&server.url, &format!("/v1/jobs/{job}")).json()["state"].clone();
            while state() != "completed" {
                assert!(began.elapsed() < Duration::from_secs(240), "job {job} is {:?}", state());
                // As whoever looks after a machine's worker does. With a rank, all ranks of its group leave.
                for other in others.iter_mut().filter_map(|other| other.has_ended().then_some(other)) {
                    *other = Other::join(other.name, &way_in);
                }
                std::thread::yield_now();
            }
            assert_eq!(tokens(&mut client, job), expected, "after {signal:?}");
        }
        println!("{signal:?}: {:.1} s until both generations had ended", began.elapsed().as_secs_f64());
        if signal == Signal::STOP {
            kill_process(process, Signal::KILL).unwrap();
        }
    }
    client.finish();
}

#[test]
fn ranks_hold_a_part_of_the_weights_each_and_end_with_their_worker() {
    let taken = |models: &[[String; 2]]| -> (Server, Data, Vec<Pid>, Vec<u64>) {
        let data = Data::default();
        let server = start(&data, models);
        let mut all = server.children();
        all.extend(children(all[0]));
        let bytes = all.iter().map(|process| memory(*process, "RssAnon")).collect();
        (server, data, all, bytes)
    };
    let (.., nothing) = taken(&[hosted("whole/tiny-gpt2", &model("tiny-gpt2"), 2)]);
    let (.., whole) = taken(&[hosted("whole/smollm2", &smollm2(), 1)]);
    let (server, _data, processes, pieces) = taken(&[hosted("pieces/smollm2", &smollm2(), 2)]);
    let weights = whole[0] - nothing[0];
    println!(
        "a worker takes {weights} MiB for a whole model, and in two pieces {pieces:?} MiB, of which {nothing:?} for none"
    );
    for (pieces, nothing) in pieces.iter().zip(&nothing) {
        let own = pieces.saturating_sub(*nothing);
        assert!((weights * 2 / 5..weights * 13 / 20).contains(&own), "{own} MiB of {weights}");
    }
    kill_process(processes[0], Signal::KILL).unwrap();
    let began = Instant::now();
    while Path::new(&format!("/proc/{}", processes[1])).exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "a rank outlives its worker");
    }
    drop(server);
}
