//! Grafana's dashboards: what each shows, and the JSON that Grafana reads.

use serde_json::{Value, json};

/// A dashboard.
#[derive(Clone, Copy, Debug)]
pub struct Dashboard {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    /// Labels that can be chosen from, with the metric that has their values.
    pub variables: &'static [(&'static str, &'static str)],
    pub panels: &'static [Panel],
}

/// A panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub title: &'static str,
    pub description: &'static str,
    /// As Grafana names units.
    pub unit: &'static str,
    pub shape: Shape,
    /// Expressions, each with how its series are named.
    pub series: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Lines,
    /// Lines that stand on each other.
    Stack,
    Number,
    Heat,
}

use Shape::{Heat, Lines, Number, Stack};

const fn panel(
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    shape: Shape,
    series: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, description, unit, shape, series }
}

/// All of them.
pub static DASHBOARDS: &[Dashboard] = &[
    Dashboard {
        name: "overview",
        title: "Vitrine: overview",
        description: "Whether users are served, and if not, by whose fault.",
        variables: &[],
        panels: &[
            panel("Leaders", "One scheduler leads.", "none", Number, &[("sum(vitrine_scheduler_leader)", "leaders")]),
            panel(
                "Workers",
                "Those that have a session.",
                "none",
                Number,
                &[("sum(vitrine_scheduler_workers{state=\"connected\"})", "workers")],
            ),
            panel(
                "Jobs that wait",
                "Beyond those that workers have.",
                "none",
                Number,
                &[("sum(vitrine_queue_depth) or vector(0)", "jobs")],
            ),
            panel(
                "Faults of the server",
                "Of the jobs that ended in five minutes.",
                "percentunit",
                Number,
                &[("vitrine:server_faults:ratio5m", "part")],
            ),
            panel(
                "Jobs by outcome",
                "A fault of the program is user or limit; one of ours is server.",
                "ops",
                Stack,
                &[("sum by (outcome) (vitrine:jobs:rate5m)", "{{outcome}}")],
            ),
            panel(
                "From request to end",
                "Of jobs that ended, waiting included.",
                "s",
                Lines,
                &[
                    ("histogram_quantile(0.5, sum by (le) (rate(vitrine_job_seconds_bucket[5m])))", "half"),
                    ("histogram_quantile(0.95, sum by (le) (rate(vitrine_job_seconds_bucket[5m])))", "95 %"),
                    ("histogram_quantile(0.99, sum by (le) (rate(vitrine_job_seconds_bucket[5m])))", "99 %"),
                ],
            ),
            panel(
                "Requests by status",
                "Of all gateways.",
                "reqps",
                Stack,
                &[("sum by (code) (rate(vitrine_gateway_requests_total[5m]))", "{{code}}")],
            ),
            panel(
                "Refused",
                "By the reason that the client was told.",
                "reqps",
                Stack,
                &[("sum by (reason) (rate(vitrine_gateway_refused_total[5m]))", "{{reason}}")],
            ),
            panel(
                "Queue by model",
                "Jobs that wait.",
                "none",
                Stack,
                &[("sum by (model) (vitrine_queue_depth)", "{{model}}")],
            ),
            panel(
                "Oldest job",
                "How long it has waited.",
                "s",
                Lines,
                &[("max by (model) (vitrine_queue_oldest_seconds)", "{{model}}")],
            ),
            panel(
                "From outside",
                "Programs that `vitrine canary` sent, by what came of them; all are to be completed.",
                "ops",
                Stack,
                &[("sum by (outcome) (rate(vitrine_outside_runs_total[15m]))", "{{outcome}}")],
            ),
            panel(
                "From outside, time",
                "From sending a program to having its result, on average.",
                "s",
                Lines,
                &[(
                    "sum by (model) (rate(vitrine_outside_seconds_sum[15m])) / sum by (model) (rate(vitrine_outside_seconds_count[15m]))",
                    "{{model}}",
                )],
            ),
            panel("Workers to add", "What an autoscaler asks.", "none", Lines, &[(crate::AUTOSCALER, "workers")]),
            panel(
                "Versions",
                "Several during an upgrade alone.",
                "none",
                Lines,
                &[("count by (version, role) (vitrine_build_info)", "{{role}} {{version}}")],
            ),
        ],
    },
    Dashboard {
        name: "tenants",
        title: "Vitrine: tenants",
        description: "Who uses what, and who waits.",
        variables: &[("tenant", "vitrine_jobs_total")],
        panels: &[
            panel(
                "Jobs that ended",
                "By tenant.",
                "ops",
                Stack,
                &[("sum by (tenant) (vitrine:jobs:rate5m{tenant=~\"$tenant\"})", "{{tenant}}")],
            ),
            panel(
                "Outcomes",
                "Of the tenants that were chosen.",
                "ops",
                Stack,
                &[("sum by (outcome) (vitrine:jobs:rate5m{tenant=~\"$tenant\"})", "{{outcome}}")],
            ),
            panel(
                "Time of models",
                "Seconds of models' threads in a second: 1 is one worker's whole time.",
                "none",
                Stack,
                &[("sum by (tenant) (vitrine:tenant_model_seconds:rate5m{tenant=~\"$tenant\"})", "{{tenant}}")],
            ),
            panel(
                "Queue",
                "Jobs that wait.",
                "none",
                Stack,
                &[("sum by (tenant) (vitrine_queue_depth{tenant=~\"$tenant\"})", "{{tenant}}")],
            ),
            panel(
                "Oldest job",
                "How long it has waited.",
                "s",
                Lines,
                &[("max by (tenant) (vitrine_queue_oldest_seconds{tenant=~\"$tenant\"})", "{{tenant}}")],
            ),
            panel(
                "Accepted",
                "Requests that became jobs.",
                "ops",
                Stack,
                &[("sum by (tenant) (rate(vitrine_gateway_accepted_total{tenant=~\"$tenant\"}[5m]))", "{{tenant}}")],
            ),
        ],
    },
    Dashboard {
        name: "models",
        title: "Vitrine: models and batching",
        description: "What passes carry, and what is left out of them.",
        variables: &[("model", "vitrine_scheduler_replicas")],
        panels: &[
            panel(
                "Replicas",
                "Workers that have the model.",
                "none",
                Stack,
                &[("sum by (model, state) (vitrine_scheduler_replicas{model=~\"$model\"})", "{{model}} {{state}}")],
            ),
            panel(
                "Passes",
                "In a second.",
                "ops",
                Stack,
                &[("sum by (model) (rate(vitrine_engine_pass_seconds_count{model=~\"$model\"}[5m]))", "{{model}}")],
            ),
            panel(
                "Time of a pass",
                "How many took how long.",
                "s",
                Heat,
                &[("sum by (le) (increase(vitrine_engine_pass_seconds_bucket{model=~\"$model\"}[5m]))", "{{le}}")],
            ),
            panel(
                "What passes do",
                "Seconds of passes in a second, by what they went to.",
                "none",
                Stack,
                &[(
                    "sum by (phase) (rate(vitrine_engine_pass_phase_seconds_total{model=~\"$model\"}[5m]))",
                    "{{phase}}",
                )],
            ),
            panel(
                "Jobs in a pass",
                "On average, and at most by one in twenty.",
                "none",
                Lines,
                &[
                    (
                        "sum by (model) (rate(vitrine_batch_jobs_sum{model=~\"$model\"}[5m])) / sum by (model) (rate(vitrine_batch_jobs_count{model=~\"$model\"}[5m]))",
                        "{{model}} mean",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le, model) (rate(vitrine_batch_jobs_bucket{model=~\"$model\"}[5m])))",
                        "{{model}} 95 %",
                    ),
                ],
            ),
            panel(
                "Rows in a pass",
                "On average.",
                "none",
                Lines,
                &[(
                    "sum by (model) (rate(vitrine_batch_rows_sum{model=~\"$model\"}[5m])) / sum by (model) (rate(vitrine_batch_rows_count{model=~\"$model\"}[5m]))",
                    "{{model}}",
                )],
            ),
            panel(
                "Occupancy",
                "Tokens of a pass, of those up to which jobs share one.",
                "percentunit",
                Lines,
                &[("vitrine:batch_occupancy:mean5m{model=~\"$model\"}", "{{model}}")],
            ),
            panel(
                "Tokens",
                "Padding included: of prompts, added by generations, and of prompts that came before.",
                "none",
                Stack,
                &[(
                    "sum by (model, kind) (rate(vitrine_engine_tokens_total{model=~\"$model\"}[5m]))",
                    "{{model}} {{kind}}",
                )],
            ),
            panel(
                "Layers saved",
                "Of those that passes would have run.",
                "percentunit",
                Lines,
                &[(
                    "sum by (model) (rate(vitrine_engine_layers_saved_total{model=~\"$model\"}[5m])) / (sum by (model) (rate(vitrine_engine_layers_saved_total{model=~\"$model\"}[5m])) + sum by (model) (rate(vitrine_engine_layers_run_total{model=~\"$model\"}[5m])))",
                    "{{model}}",
                )],
            ),
            panel(
                "Forked rows",
                "Rows that computed only what differs.",
                "ops",
                Lines,
                &[("sum by (model) (rate(vitrine_engine_forked_rows_total{model=~\"$model\"}[5m]))", "{{model}}")],
            ),
            panel(
                "Kept of prompts",
                "States of prompts that come again.",
                "bytes",
                Stack,
                &[("sum by (model) (vitrine_engine_trunks_bytes{model=~\"$model\"})", "{{model}}")],
            ),
            panel(
                "Passes that failed",
                "Their jobs run again, apart.",
                "ops",
                Lines,
                &[("sum by (model) (rate(vitrine_engine_failed_passes_total{model=~\"$model\"}[5m]))", "{{model}}")],
            ),
            panel(
                "Waiting and running",
                "At most, by one job in twenty.",
                "s",
                Lines,
                &[
                    (
                        "histogram_quantile(0.95, sum by (le, model) (rate(vitrine_job_queue_seconds_bucket{model=~\"$model\"}[5m])))",
                        "{{model}} waits",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le, model) (rate(vitrine_job_run_seconds_bucket{model=~\"$model\"}[5m])))",
                        "{{model}} runs",
                    ),
                ],
            ),
            panel(
                "Interpreter",
                "Steps of users' code in a second.",
                "ops",
                Stack,
                &[("sum by (model) (rate(vitrine_interpreter_steps_total{model=~\"$model\"}[5m]))", "{{model}}")],
            ),
        ],
    },
    Dashboard {
        name: "workers",
        title: "Vitrine: workers and devices",
        description: "What each worker has and holds. GPUs themselves are shown by NVIDIA's DCGM exporter.",
        variables: &[],
        panels: &[
            panel(
                "Session",
                "Whether a scheduler has let it in.",
                "none",
                Lines,
                &[("sum by (instance) (vitrine_worker_session)", "{{instance}}")],
            ),
            panel(
                "Jobs",
                "By what is done with them.",
                "none",
                Stack,
                &[("sum by (instance, phase) (vitrine_worker_jobs)", "{{instance}} {{phase}}")],
            ),
            panel(
                "Slots",
                "Jobs that it takes at once.",
                "none",
                Lines,
                &[("sum by (instance) (vitrine_worker_slots)", "{{instance}}")],
            ),
            panel(
                "Memory",
                "Weights as on disk, what jobs hold, what is kept of prompts, and what the machine has free.",
                "bytes",
                Stack,
                &[
                    ("sum by (instance) (vitrine_model_weights_bytes)", "{{instance}} weights"),
                    ("sum by (instance, kind) (vitrine_worker_memory_bytes)", "{{instance}} {{kind}}"),
                ],
            ),
            panel(
                "Memory of devices",
                "As measured, by what it is for.",
                "bytes",
                Stack,
                &[("sum by (device, kind) (vitrine_device_memory_bytes)", "{{device}} {{kind}}")],
            ),
            panel(
                "Memory of jobs",
                "Of what they may hold.",
                "percentunit",
                Lines,
                &[(
                    "sum by (instance) (vitrine_worker_memory_bytes{kind=\"jobs\"}) / sum by (instance) (vitrine_worker_memory_limit_bytes)",
                    "{{instance}}",
                )],
            ),
            panel(
                "Models",
                "The state of each.",
                "none",
                Stack,
                &[("sum by (instance, model, state) (vitrine_model_state)", "{{instance}} {{model}} {{state}}")],
            ),
            panel(
                "Kept warm",
                "What weights take that are kept in memory, so that their models come back to a GPU sooner.",
                "bytes",
                Stack,
                &[("sum by (instance, model) (vitrine_model_kept_bytes)", "{{instance}} {{model}}")],
            ),
            panel(
                "Loading",
                "The part of the weights that has been read.",
                "percentunit",
                Lines,
                &[("max by (instance, model) (vitrine_model_loaded_ratio)", "{{instance}} {{model}}")],
            ),
            panel(
                "Time to load",
                "On average.",
                "s",
                Lines,
                &[(
                    "sum by (model) (vitrine_model_load_seconds_sum) / sum by (model) (vitrine_model_load_seconds_count)",
                    "{{model}}",
                )],
            ),
            panel(
                "Ended with the engine",
                "By whose doing; crowded ones run again.",
                "ops",
                Stack,
                &[("sum by (outcome) (rate(vitrine_worker_jobs_total[5m]))", "{{outcome}}")],
            ),
            panel(
                "Canary",
                "Runs of the program that tells whether passes compute what they did; drifted ones are to be none.",
                "ops",
                Stack,
                &[("sum by (outcome) (rate(vitrine_canary_runs_total[15m]))", "{{outcome}}")],
            ),
            panel(
                "Weights compared",
                "Rounds in which weights in memory were compared with what was loaded; changed ones are to be none.",
                "ops",
                Stack,
                &[("sum by (outcome) (rate(vitrine_weights_scrubs_total[15m]))", "{{outcome}}")],
            ),
            panel(
                "Writing results",
                "At most, by one in twenty.",
                "s",
                Lines,
                &[("histogram_quantile(0.95, sum by (le) (rate(vitrine_worker_result_seconds_bucket[5m])))", "95 %")],
            ),
            panel(
                "Processors",
                "Seconds of processors in a second.",
                "none",
                Lines,
                &[("sum by (instance) (rate(process_cpu_seconds_total[5m]))", "{{instance}}")],
            ),
            panel(
                "Memory of processes",
                "Resident.",
                "bytes",
                Lines,
                &[("sum by (instance) (process_resident_memory_bytes)", "{{instance}}")],
            ),
            panel(
                "Files and threads",
                "Open files and sockets, and threads.",
                "none",
                Lines,
                &[
                    ("sum by (instance) (process_open_fds)", "{{instance}} files"),
                    ("sum by (instance) (process_threads)", "{{instance}} threads"),
                ],
            ),
            panel(
                "Up for",
                "Since the process began.",
                "s",
                Lines,
                &[("time() - max by (instance) (process_start_time_seconds)", "{{instance}}")],
            ),
        ],
    },
    Dashboard {
        name: "control-plane",
        title: "Vitrine: control plane",
        description: "Gateways, schedulers, and the stores below them.",
        variables: &[],
        panels: &[
            panel(
                "Who leads",
                "One of them.",
                "none",
                Lines,
                &[("sum by (instance) (vitrine_scheduler_leader)", "{{instance}}")],
            ),
            panel(
                "Workers",
                "With a session, or away for the moment.",
                "none",
                Stack,
                &[("sum by (state) (vitrine_scheduler_workers)", "{{state}}")],
            ),
            panel(
                "Slots",
                "Of workers with a session.",
                "none",
                Stack,
                &[("sum by (state) (vitrine_scheduler_slots)", "{{state}}")],
            ),
            panel(
                "Given out",
                "Jobs to workers.",
                "ops",
                Stack,
                &[("sum by (model) (rate(vitrine_scheduler_dispatches_total[5m]))", "{{model}}")],
            ),
            panel(
                "Placements",
                "Decisions about where models are, in an hour.",
                "none",
                Lines,
                &[("sum by (action) (increase(vitrine_scheduler_placements_total[1h]))", "{{action}}")],
            ),
            panel(
                "Come back",
                "Attempts that came to nothing; the jobs run again.",
                "ops",
                Stack,
                &[("sum by (reason) (rate(vitrine_scheduler_requeues_total[5m]))", "{{reason}}")],
            ),
            panel(
                "Workers that left",
                "In a quarter of an hour.",
                "none",
                Stack,
                &[("sum by (reason) (increase(vitrine_scheduler_worker_departures_total[15m]))", "{{reason}}")],
            ),
            panel(
                "Ranks that were lost",
                "Groups in a quarter of an hour, each with the process that led it.",
                "none",
                Stack,
                &[("sum by (reason) (increase(vitrine_ranks_lost_total[15m]) or vector(0))", "{{reason}}")],
            ),
            panel(
                "Deciding",
                "At most, by one in a hundred.",
                "s",
                Lines,
                &[(
                    "histogram_quantile(0.99, sum by (le) (rate(vitrine_scheduler_decision_seconds_bucket[5m])))",
                    "99 %",
                )],
            ),
            panel(
                "Answering",
                "At most, by one request in twenty, by route.",
                "s",
                Lines,
                &[(
                    "histogram_quantile(0.95, sum by (le, route) (rate(vitrine_gateway_request_seconds_bucket[5m])))",
                    "{{route}}",
                )],
            ),
            panel(
                "Uploads and results",
                "Bytes in a second.",
                "Bps",
                Lines,
                &[
                    ("sum(rate(vitrine_gateway_upload_bytes_total[5m]))", "uploads"),
                    ("sum by (way) (rate(vitrine_gateway_result_bytes_total[5m]))", "results, {{way}}"),
                ],
            ),
            panel(
                "Results",
                "By how they were sent.",
                "ops",
                Stack,
                &[("sum by (way) (rate(vitrine_gateway_results_total[5m]))", "{{way}}")],
            ),
            panel(
                "Websockets",
                "Open ones.",
                "none",
                Stack,
                &[("sum by (key) (vitrine_gateway_sockets)", "key: {{key}}")],
            ),
            panel(
                "Certificates",
                "How long they are valid, by what they are for.",
                "s",
                Lines,
                &[(
                    "min by (instance, certificate) (vitrine_certificate_expiry_timestamp_seconds) - time()",
                    "{{certificate}}, {{instance}}",
                )],
            ),
            panel(
                "Backlog",
                "Jobs that wait or run, of those that may.",
                "percentunit",
                Lines,
                &[("max(vitrine_gateway_backlog_jobs / vitrine_gateway_backlog_limit_jobs)", "part")],
            ),
            panel(
                "Backlog in bytes",
                "Of the requests of these jobs.",
                "bytes",
                Lines,
                &[("max(vitrine_gateway_backlog_bytes)", "bytes")],
            ),
            panel(
                "The store answers",
                "At most, by one request in a hundred.",
                "s",
                Lines,
                &[(
                    "histogram_quantile(0.99, sum by (le, kind) (rate(vitrine_store_request_seconds_bucket[5m])))",
                    "{{kind}}",
                )],
            ),
            panel(
                "Transactions",
                "Conflicts are looked up and tried again.",
                "ops",
                Stack,
                &[("sum by (outcome) (rate(vitrine_store_transactions_total[5m]))", "{{outcome}}")],
            ),
            panel(
                "The store fails",
                "By the reason.",
                "ops",
                Stack,
                &[("sum by (reason) (rate(vitrine_store_errors_total[5m]))", "{{reason}}")],
            ),
            panel(
                "Bytes of the store",
                "Read and written.",
                "Bps",
                Lines,
                &[("sum by (direction) (rate(vitrine_store_bytes_total[5m]))", "{{direction}}")],
            ),
            panel(
                "Watches that resync",
                "In five minutes.",
                "none",
                Lines,
                &[("sum by (instance) (increase(vitrine_store_watch_resyncs_total[5m]))", "{{instance}}")],
            ),
            panel(
                "Objects",
                "Bytes in a second that were read or written whole.",
                "Bps",
                Lines,
                &[("sum by (direction) (rate(vitrine_store_object_bytes_total[5m]))", "{{direction}}")],
            ),
            panel(
                "Time of objects",
                "At most, by one in twenty.",
                "s",
                Lines,
                &[(
                    "histogram_quantile(0.95, sum by (le, direction) (rate(vitrine_store_object_seconds_bucket[5m])))",
                    "{{direction}}",
                )],
            ),
        ],
    },
];

/// Columns of Grafana's grid, and the size of a panel in it.
const COLUMNS: usize = 24;
const SMALL: (usize, usize) = (6, 4);
const LARGE: (usize, usize) = (12, 8);

/// Writes a dashboard as Grafana imports it. Where its data lies is chosen on the page.
#[must_use]
pub fn json(dashboard: &Dashboard) -> String {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut panels = Vec::new();
    for (index, panel) in dashboard.panels.iter().enumerate() {
        let (width, height) = if panel.shape == Number { SMALL } else { LARGE };
        if x + width > COLUMNS || (row != height && x > 0) {
            (x, y) = (0, y + row);
        }
        row = height;
        panels.push(drawn(panel, index + 1, json!({ "x": x, "y": y, "w": width, "h": height })));
        x += width;
    }
    let source = json!({ "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data" });
    let variables = dashboard.variables.iter().map(|(label, metric)| {
        json!({
            "name": label, "label": label, "type": "query", "datasource": source_of(),
            "query": { "query": format!("label_values({metric}, {label})"), "refId": "values" },
            "refresh": 2, "multi": true, "includeAll": true, "allValue": ".*",
            "current": { "text": "All", "value": "$__all" },
        })
    });
    let links = json!([{ "title": "Vitrine", "type": "dashboards", "tags": ["vitrine"], "asDropdown": true }]);
    let written = json!({
        "uid": format!("vitrine-{}", dashboard.name),
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["vitrine"],
        "timezone": "browser",
        "schemaVersion": 38,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "links": links,
        "templating": { "list": std::iter::once(source).chain(variables).collect::<Vec<_>>() },
        "panels": panels,
    });
    format!("{written:#}\n")
}

fn source_of() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn drawn(panel: &Panel, id: usize, place: Value) -> Value {
    let kind = match panel.shape {
        Lines | Stack => "timeseries",
        Number => "stat",
        Heat => "heatmap",
    };
    let stacking = if panel.shape == Stack { "normal" } else { "none" };
    let targets = panel.series.iter().zip(b'A'..).map(|((expression, legend), letter)| {
        json!({
            "refId": char::from(letter).to_string(), "datasource": source_of(), "expr": expression, "legendFormat": legend,
            "format": if panel.shape == Heat { "heatmap" } else { "time_series" }, "exemplar": panel.shape == Lines,
        })
    });
    let mut drawn = json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.description, "gridPos": place,
        "datasource": source_of(), "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": { "defaults": { "unit": panel.unit }, "overrides": [] },
    });
    if kind == "timeseries" {
        let fill = if panel.shape == Stack { 30 } else { 0 };
        drawn["fieldConfig"]["defaults"]["custom"] =
            json!({ "stacking": { "mode": stacking, "group": "A" }, "fillOpacity": fill, "showPoints": "never" });
        drawn["fieldConfig"]["defaults"]["min"] = json!(0);
        drawn["options"] =
            json!({ "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } });
    }
    if panel.shape == Heat {
        drawn["options"] =
            json!({ "calculate": false, "yAxis": { "unit": panel.unit }, "color": { "scheme": "Blues" } });
    }
    drawn
}
