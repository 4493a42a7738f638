//! Dashboards, rules and the autoscaler's query, on a real Prometheus that scrapes a real server; an alert's way to who is
//! to hear of it, through a real Alertmanager.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use observability::{AUTOSCALER, alerts, dashboards, rules};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::cluster::Cluster;
use tests::{Data, KEY, Server, http, ports, python, root};

const PATIENCE: Duration = Duration::from_secs(180);

/// What those expressions name that look at certificates.
const OF_CERTIFICATES: &str = "vitrine_certificate_expiry";

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[String]) -> Self {
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{program} is missing ({error}): run `make setup-tests`")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn made(name: &str) -> PathBuf {
    root().join("deploy/observability").join(name)
}

fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is missing: run `make setup-tests`");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Asks Prometheus, and returns how many series the answer has.
fn ask(prometheus: &str, expression: &str) -> usize {
    let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?query={escaped}");
    let Some(answer) = http::try_ask(&format!("http://{prometheus}"), "GET", &path, &[], b"") else { return 0 };
    let answer = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    assert_ne!(answer["status"], "error", "{expression}: {answer}");
    answer["data"]["result"].as_array().map_or(0, Vec::len)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come about within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Returns where Alertmanager is to send alerts, and what it sends.
fn receiver() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut text = String::new();
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                text += &String::from_utf8_lossy(&piece[..read]);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// Returns how processes that show their metrics are scraped.
fn job(targets: &[&str]) -> String {
    format!("{{ job_name: vitrine, static_configs: [{{ targets: {targets:?} }}] }}")
}

/// Starts both, which watch what is scraped so.
fn watch(folder: &Path, jobs: &str, receiver: &str) -> (String, [Running; 2]) {
    let [prometheus, alertmanager, cluster] = ports::free();
    let path = |name: &str| folder.join(name).display().to_string();
    fs::write(
        folder.join("prometheus.yml"),
        format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\n\
             alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [{alertmanager:?}] }}] }}] }}\n\
             scrape_configs: [{jobs}]\n",
            made("rules.yml")
        ),
    )
    .unwrap();
    fs::write(
        folder.join("alertmanager.yml"),
        format!(
            "route: {{ receiver: test, group_by: [alertname], group_wait: 0s, group_interval: 1s }}\n\
             receivers: [{{ name: test, webhook_configs: [{{ url: \"http://{receiver}/\" }}] }}]\n"
        ),
    )
    .unwrap();
    let alerting = [
        format!("--config.file={}", path("alertmanager.yml")),
        format!("--storage.path={}", path("alerts")),
        format!("--web.listen-address={alertmanager}"),
        format!("--cluster.listen-address={cluster}"),
    ];
    let watching = [
        format!("--config.file={}", path("prometheus.yml")),
        format!("--storage.tsdb.path={}", path("series")),
        format!("--web.listen-address={prometheus}"),
    ];
    let alertmanager = Running::start("prometheus-alertmanager", &alerting);
    (prometheus, [Running::start("prometheus", &watching), alertmanager])
}

fn end_worker(server: &Server) {
    until("a worker", || !server.children().is_empty());
    for worker in server.children() {
        // It may end this instant by itself.
        let _ = kill_process(worker, Signal::KILL);
    }
}

#[test]
fn the_rules_are_rules_and_every_alert_fires_when_it_should_and_only_then() {
    let (good, said) = promtool(&["check", "rules", made("rules.yml").to_str().unwrap()], "");
    assert!(good, "{said}");
    let (good, said) = promtool(&["test", "rules", made("rules_test.yml").to_str().unwrap()], "");
    assert!(good, "{said}");
}

#[test]
fn every_panel_rule_and_query_has_data_and_an_alert_reaches_who_is_to_hear_of_it() {
    let data = Data::default();
    let [health, worker_health, canary_health] = ports::free();
    let set = [
        format!("worker_health={worker_health}"),
        "gateway.queued_jobs_per_tenant=4".into(),
        "gateway.limits.run_time=3s".into(),
    ];
    let mut up = data.up().key().tiny_models().one_thread().arguments(&["--health-listen", &health]);
    for set in &set {
        up = up.arguments(&["--set", set]);
    }
    let server = up.start();
    let program = tests::program("vitrine").display().to_string();
    let of_canary = [
        "canary",
        "--host",
        &server.url,
        "--key",
        KEY,
        "--every",
        "1s",
        "--patience",
        "2s",
        "--health",
        &canary_health,
    ];
    let _canary = Running::start(&program, &of_canary.map(str::to_owned));
    let (webhook, alerts_received) = receiver();
    let folder = data.path("monitoring");
    fs::create_dir(&folder).unwrap();
    let (prometheus, _running) = watch(&folder, &job(&[&health, &worker_health, &canary_health]), &webhook);
    let prometheus = prometheus.as_str();
    until("a first look at all processes", || ask(prometheus, "up == 1") == 3);
    until("a program of the canary's", || ask(prometheus, "vitrine_outside_runs_total{outcome=\"completed\"} > 0") > 0);
    // What lies where is measured: the weights of what is loaded, and what is free.
    for kind in ["weights", "free"] {
        let measured = format!("vitrine_device_memory_bytes{{device=\"cpu\",kind={kind:?}}} > 0");
        until(kind, || ask(prometheus, &measured) == 1);
    }

    server.client("outcomes.py").succeed();
    // A tenant that sends more than it may, while nobody runs anything.
    let mut flood = server.client("poll.py").start();
    flood.expect("here");
    for _ in 0..4 {
        // One that no scheduler has let in is nobody's loss.
        let ready = || http::try_ask(&format!("http://{worker_health}"), "GET", "/readyz", &[], b"");
        until("a worker", || ready().is_some_and(|answer| answer.status == 200));
        end_worker(&server);
    }
    for _ in 0..6 {
        flood.say("submit much");
    }
    until("a full queue", || ask(prometheus, "sum(vitrine_queue_depth) > 0") == 1);
    until("a refusal", || ask(prometheus, "vitrine_gateway_refused_total{reason=\"own_queue_full\"} > 0") == 1);

    let all = |text: &str| text.replace("$tenant", ".*").replace("$model", ".*");
    let mut expressions = vec![("the autoscaler's query".to_owned(), AUTOSCALER.to_owned())];
    for dashboard in dashboards::DASHBOARDS {
        for panel in dashboard.panels {
            let place = format!("{}: {}", dashboard.name, panel.title);
            expressions.extend(panel.series.iter().map(|(expression, _)| (place.clone(), all(expression))));
        }
    }
    expressions.extend(rules::RECORDINGS.iter().map(|rule| (rule.name.to_owned(), rule.expression.to_owned())));
    expressions.extend(alerts::ALERTS.iter().map(|alert| (alert.name.to_owned(), alert.value.to_owned())));
    // Without TLS there are none of those.
    expressions.retain(|(_, expression)| !expression.contains(OF_CERTIFICATES));
    let mut silent = expressions;
    let deadline = Instant::now() + PATIENCE;
    while !silent.is_empty() && Instant::now() < deadline {
        silent.retain(|(_, expression)| ask(prometheus, expression) == 0);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(silent.is_empty(), "these have no data: {silent:#?}");

    let heard = std::iter::from_fn(|| alerts_received.recv_timeout(PATIENCE).ok());
    let mut heard = heard.filter(|text| text.contains("VitrineWorkersDie"));
    let text = heard.next().expect("the alert reaches the receiver");
    assert!(text.contains("docs/runbooks/VitrineWorkersDie.md") && text.contains("\"firing\""), "{text}");

    for address in [&health, &worker_health, &canary_health] {
        until("metrics", || http::try_ask(&format!("http://{address}"), "GET", "/metrics", &[], b"").is_some());
        let metrics = http::get(&format!("http://{address}"), "/metrics");
        let (good, said) = promtool(&["check", "metrics"], std::str::from_utf8(&metrics.body).unwrap());
        assert!(good, "{said}");
    }
}

#[test]
fn members_of_etcd_that_are_lost_are_named_and_who_misses_them_is_too() {
    let data = Data::default();
    let folder = data.path("cluster");
    let cluster = Cluster::start(&folder, &[]);
    let monitoring = data.path("monitoring");
    fs::create_dir(&monitoring).unwrap();
    let health = cluster.health();
    let members = ["etcd-1", "etcd-2", "etcd-3"].map(|name| cluster.server(name));
    let addresses = members.each_ref().map(|(_, address)| address.trim_start_matches("https://"));
    let file = |name: &str| folder.join("certificates").join(name).display().to_string();
    let jobs = format!(
        "{}, {{ job_name: vitrine-etcd, scheme: https, scrape_timeout: 1s, static_configs: [{{ targets: {addresses:?} }}], \
         tls_config: {{ ca_file: {:?}, cert_file: {:?}, key_file: {:?} }} }}",
        job(&health.iter().map(String::as_str).collect::<Vec<_>>()),
        file("ca.pem"),
        file("etcd.pem"),
        file("etcd.key"),
    );
    let (webhook, _received) = receiver();
    let (prometheus, _running) = watch(&monitoring, &jobs, &webhook);
    let prometheus = prometheus.as_str();
    until("a first look at all processes", || ask(prometheus, "up == 1") == health.len() + addresses.len());

    // Every role shows when its certificates end, and those of the authority.
    let ends =
        |certificate: &str| format!("{OF_CERTIFICATES}_timestamp_seconds{{certificate={certificate:?}}} > time()");
    let [schedulers, gateways, workers] = [2, 2, 3];
    for (certificate, processes) in [("peer", schedulers + workers), ("etcd", schedulers + gateways)] {
        for certificate in [certificate.to_owned(), format!("{certificate}_authority")] {
            until(&certificate, || ask(prometheus, &ends(&certificate)) == processes);
        }
    }
    let left = alerts::ALERTS.iter().filter(|alert| alert.value.contains(OF_CERTIFICATES));
    left.for_each(|alert| assert_eq!(ask(prometheus, &format!("count({})", alert.value)), 1, "{}", alert.name));

    // Whoever administers the cluster sees those of gateways and schedulers.
    let gateway = cluster.gateway();
    let about = cluster.about();
    let administrator = format!("Authorization: Bearer {}", about["admin_key"].as_str().unwrap());
    let listed = || {
        let answer = http::try_ask(&gateway, "GET", "/v1/nodes", &[&administrator], b"");
        let answer = answer.filter(|answer| answer.status == 200).map(|answer| answer.json()).unwrap_or_default();
        let roles = answer["roles"].as_array().cloned().unwrap_or_default();
        let shown = roles.iter().filter(|role| role["certificates"]["etcd"].is_string());
        shown.map(|role| role["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [(_, first), second] = ["scheduler-1", "scheduler-2"].map(|name| cluster.server(name));
    let mut all = ["gateway-1", "gateway-2", &first, &second.1].map(str::to_owned);
    all[2..].sort();
    until("all gateways and schedulers", || listed() == all);
    let silent = [cluster.server("gateway-2"), second];
    silent.iter().for_each(|(pid, _)| kill_process(*pid, Signal::STOP).unwrap());

    // One of three: it is named, and jobs go on.
    let lose = |member: &(Pid, String)| kill_process(member.0, Signal::STOP).unwrap();
    lose(&members[2]);
    let value = |name: &str| alerts::ALERTS.iter().find(|alert| alert.name == name).unwrap();
    let down =
        format!("({}) and on (instance) up{{instance={:?}}}", value("VitrineTargetDown").expression(), addresses[2]);
    until("the lost member's name", || ask(prometheus, &down) == 1);
    let key = about["api_key"].as_str().unwrap().to_owned();
    let client = python("poll.py").env("HF_ENDPOINT", &gateway).env("NDIF_HOST", &gateway).env("NDIF_API_KEY", &key);
    let mut client = client.start();
    client.expect("here");
    let mut runs = |block: &str| {
        client.say(&format!("submit {block}"));
        let job = client.expect("job ");
        client.say(&format!("poll {job}"));
        client.expect("result");
    };
    runs("beside two members");

    // Two: nobody is answered, and who asks is named. What comes back is enough.
    lose(&members[1]);
    let away = value("VitrineStoreAway").expression();
    until("who does not reach the store", || ask(prometheus, &away) > 0);
    let go_on = |(pid, _): &(Pid, String)| kill_process(*pid, Signal::CONT).unwrap();
    members[1..].iter().for_each(go_on);
    until("all members", || ask(prometheus, "up == 1") == health.len() - silent.len() + addresses.len());
    runs("beside all of them");

    // Who is silent is shown until its lease is over, and again when it comes back.
    until("the end of those that are silent", || listed() == ["gateway-1", &first]);
    silent.iter().for_each(go_on);
    until("those that came back", || listed() == all);
}

#[test]
fn dashboards_are_json_that_links_to_no_data_source_of_somebodys() {
    for dashboard in dashboards::DASHBOARDS {
        let text = fs::read_to_string(made(&format!("dashboards/{}.json", dashboard.name))).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut ids: Vec<_> = value["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
        ids.dedup();
        assert_eq!(ids.len(), dashboard.panels.len(), "every panel has an id of its own");
        for panel in value["panels"].as_array().unwrap() {
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
}
