//! What is worth waking somebody, or telling them in the morning: one table, of which rules, their tests and the runbooks
//! are made.

/// An alert.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    pub name: &'static str,
    pub severity: Severity,
    /// What is looked at. It has an answer at any time at which the cluster is scraped.
    pub value: &'static str,
    /// When that is too much or too little.
    pub when: &'static str,
    /// How long it has to be so.
    pub lasts: &'static str,
    /// One sentence for who is told.
    pub summary: &'static str,
    /// What it means for users.
    pub means: &'static str,
    /// Where to look, and in what order.
    pub look: &'static [&'static str],
    /// What to do.
    pub mend: &'static [&'static str],
    /// Series that make it fire, as `promtool test rules` takes them, and after how long.
    pub test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody has to look now.
    Critical,
    /// It can wait until morning.
    Warning,
}

/// A case in which an alert fires, and one in which it does not.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    pub fires: &'static [(&'static str, &'static str)],
    pub silent: &'static [(&'static str, &'static str)],
    pub at: &'static str,
}

use Severity::{Critical, Warning};

const CERTIFICATE_LOOK: &[&str] = &[
    "`vitrine_certificate_expiry_timestamp_seconds` by instance: whether it is one process, or the authority of them all.",
    "The process's settings name the file: `tls_certificate` (serving), `[tls]` (peer and peer_authority), `[store.tls]` (etcd and \
     etcd_authority). `openssl x509 -enddate -noout -in FILE` says when what lies there ends.",
    "Where the file is newer than what is shown, the process's log: `the certificate in use is the one from before` says why. A \
     worker shows the old one until it dials again: where its file is newer, nothing is wrong with it.",
];

const CERTIFICATE_MEND: &[&str] = &[
    "Write the new certificate and key in place of the old: gateways and schedulers read them within 5 seconds, workers when they \
     dial next. Those that etcd sees are read at a start: start gateways and schedulers anew, one after the other.",
    "An authority is replaced in two steps: put the new one beside the old into every `authority` file, then replace the \
     certificates. Then take the old one out.",
    "On Kubernetes, cert-manager does it: `kubectl describe certificate` says what keeps it from that.",
];

/// All of them.
pub static ALERTS: &[Alert] = &[
    Alert {
        name: "VitrineNoLeader",
        severity: Critical,
        value: "(sum(vitrine_scheduler_leader) or vector(0))",
        when: "!= 1",
        lasts: "1m",
        summary: "No scheduler leads, or two say that they do: jobs are accepted and none is given to a worker",
        means: "Clients are told that their jobs are received, and wait. What workers have goes on to its end and is kept. Nothing is lost.",
        look: &[
            "`/readyz` at the health port of each scheduler: it says `no scheduler leads` where that is so.",
            "The logs of the schedulers: a `the election failed` names what etcd answered.",
            "`vitrine_store_errors_total` of the schedulers: whether etcd answers them.",
        ],
        mend: &[
            "Start schedulers that are not running; two or three belong to a cluster.",
            "Where etcd has no majority, bring its members back first: see VitrineStoreAway.",
            "Two leaders for more than ten seconds cannot be by the protocol: each write of one that was deposed is refused. Look \
             whether two installations are scraped as one, and whether their etcd prefixes differ.",
        ],
        test: Test {
            fires: &[
                ("vitrine_scheduler_leader{instance=\"a\"}", "0x10"),
                ("vitrine_scheduler_leader{instance=\"b\"}", "0x10"),
            ],
            silent: &[
                ("vitrine_scheduler_leader{instance=\"a\"}", "1x10"),
                ("vitrine_scheduler_leader{instance=\"b\"}", "0x10"),
            ],
            at: "3m",
        },
    },
    Alert {
        name: "VitrineMetricsMissing",
        severity: Critical,
        value: "(count(vitrine_scheduler_leader) or vector(0))",
        when: "== 0",
        lasts: "5m",
        summary: "No scheduler is scraped: the other alerts cannot fire",
        means: "Perhaps nothing is wrong but the monitoring; nobody would see if something were.",
        look: &[
            "Prometheus' page of targets: which of them are down, and why.",
            "Whether the roles have a `health` address that Prometheus reaches ([observability](../observability.md)).",
        ],
        mend: &["Correct the addresses in Prometheus' configuration, or let its requests through to the health ports."],
        test: Test {
            fires: &[("vitrine_gateway_sockets{key=\"valid\"}", "0x20")],
            silent: &[("vitrine_scheduler_leader", "1x20")],
            at: "7m",
        },
    },
    Alert {
        name: "VitrineModelWithoutWorker",
        severity: Critical,
        value: "sum by (model) (vitrine_scheduler_replicas{state=\"ready\"})",
        when: "== 0 and on (model) sum by (model) (vitrine_queue_depth) > 0",
        lasts: "5m",
        summary: "Jobs wait for the model {{ $labels.model }}, and no worker has it ready",
        means: "Jobs for this model wait, for a day at most, and then expire. Other models are not concerned.",
        look: &[
            "`vitrine_scheduler_workers`: whether any worker has a session.",
            "`vitrine_scheduler_replicas` of the model: whether somebody loads it, or could not.",
            "`vitrine model show MODEL`: why it waits, for room perhaps, and when it is expected.",
            "The workers' logs: `the model cannot be served` says why.",
        ],
        mend: &[
            "Start a worker. It finds the schedulers by its list, and is given what is waited for.",
            "Where other models fill all workers and are pinned or kept, let one of them go (`vitrine model deploy`).",
            "Where the folder cannot be read, check it with `vitrine model check FOLDER` on the worker's machine.",
        ],
        test: Test {
            fires: &[
                ("vitrine_scheduler_replicas{model=\"o/n\",state=\"ready\"}", "0x20"),
                ("vitrine_queue_depth{model=\"o/n\",tenant=\"lab\"}", "1x20"),
            ],
            // Nobody asks for it, so that it need not be anywhere.
            silent: &[
                ("vitrine_scheduler_replicas{model=\"o/n\",state=\"ready\"}", "0x20"),
                ("vitrine_queue_depth{model=\"o/m\",tenant=\"lab\"}", "1x20"),
            ],
            at: "7m",
        },
    },
    Alert {
        name: "VitrineServerFaults",
        severity: Critical,
        value: "vitrine:server_faults:ratio5m",
        when: "> 0.05 and on () sum(rate(vitrine_jobs_total[5m])) > 0.02",
        lasts: "5m",
        summary: "{{ $value | humanizePercentage }} of the jobs that end fail by the server's fault",
        means: "Users see `The server failed, which is no fault of your code`. Each of these jobs was tried three times.",
        look: &[
            "The workers' logs: `the engine panicked` and `the GPU is lost` name what failed.",
            "`vitrine_scheduler_requeues_total` by reason: workers that die, or failures of theirs.",
            "Whether it is one model or one worker: the dashboard *Models and batching*.",
        ],
        mend: &[
            "End a worker that fails while others do not: what it has runs elsewhere.",
            "Where one tenant's program ends workers, `vitrine tenant suspend NAME` stops it, and tell the developers.",
        ],
        test: Test {
            fires: &[
                ("vitrine_jobs_total{tenant=\"a\",model=\"m\",outcome=\"server\"}", "0+6x30"),
                ("vitrine_jobs_total{tenant=\"a\",model=\"m\",outcome=\"completed\"}", "0+6x30"),
            ],
            silent: &[
                ("vitrine_jobs_total{tenant=\"a\",model=\"m\",outcome=\"user\"}", "0+6x30"),
                ("vitrine_jobs_total{tenant=\"a\",model=\"m\",outcome=\"completed\"}", "0+6x30"),
            ],
            at: "15m",
        },
    },
    Alert {
        name: "VitrineGatewayFailures",
        severity: Critical,
        value: "vitrine:gateway_failures:ratio5m",
        when: "> 0.01 and on () sum(rate(vitrine_gateway_requests_total[5m])) > 0.1",
        lasts: "5m",
        summary: "{{ $value | humanizePercentage }} of the requests are answered with 5xx",
        means: "Clients are refused. Nothing that was refused was accepted, unless the answer says that nobody knows.",
        look: &[
            "`vitrine_gateway_refused_total` by reason: `store_away`, `objects_away`, `issuer_away`, `no_space`, `queue_full`, `busy` and `internal` are 5xx.",
            "The gateways' logs: `request failed` has the cause.",
        ],
        mend: &[
            "`store_away`: see VitrineStoreAway. `objects_away`: the bucket does not answer. `issuer_away`: the provider that people sign in by does not. `no_space`: see VitrineDiskFull. `queue_full`: see VitrineQueueFull.",
        ],
        test: Test {
            fires: &[
                ("vitrine_gateway_requests_total{route=\"/request\",code=\"503\"}", "0+6x30"),
                ("vitrine_gateway_requests_total{route=\"/request\",code=\"200\"}", "0+60x30"),
            ],
            silent: &[
                ("vitrine_gateway_requests_total{route=\"/request\",code=\"429\"}", "0+6x30"),
                ("vitrine_gateway_requests_total{route=\"/request\",code=\"200\"}", "0+60x30"),
            ],
            at: "15m",
        },
    },
    Alert {
        name: "VitrineStoreAway",
        severity: Critical,
        value: "sum by (instance) (rate(vitrine_store_errors_total{reason=~\"unavailable|unknown\"}[2m]))",
        when: "> 0",
        lasts: "2m",
        summary: "{{ $labels.instance }} does not reach the metadata store",
        means: "New requests get 503 and nothing is acknowledged. Running jobs finish, and workers keep their results until the store is back.",
        look: &[
            "`etcdctl endpoint status --cluster`: whether a majority of the members lives and has a leader.",
            "`vitrine_store_request_seconds`: whether it is slow rather than away; etcd is as slow as its disks sync.",
            "Whether one role alone is concerned: then it is the network, or its certificate.",
        ],
        mend: &[
            "Start members of etcd that are down. With a majority back nothing else is needed.",
            "Where a majority's disks are lost, restore the last snapshot: [cluster.md](../cluster.md#backup-and-restore).",
        ],
        test: Test {
            fires: &[("vitrine_store_errors_total{instance=\"g\",reason=\"unavailable\"}", "0+3x20")],
            silent: &[("vitrine_store_errors_total{instance=\"g\",reason=\"unavailable\"}", "7x20")],
            at: "6m",
        },
    },
    Alert {
        name: "VitrineDiskFull",
        severity: Critical,
        value: "sum by (instance) (increase(vitrine_gateway_refused_total{reason=\"no_space\"}[5m])) > 0 \
                or sum by (instance) (increase(vitrine_store_errors_total{reason=\"no_space\"}[5m]))",
        when: "> 0",
        lasts: "0m",
        summary: "A disk is full: {{ $labels.instance }} finds no room for jobs or results",
        means: "Requests that need room are answered with 507. What was accepted is kept; results may fail to be. That gateway's `/admin` \
                says so, too.",
        look: &["`df` of the data folder, of `gateway.upload_folder`, and of where the object store keeps its files."],
        mend: &[
            "Make room, or give the store a larger disk. Nothing has to be started again.",
            "Results stay for `scheduler.result_time`, seven days by default: a shorter time frees more, with the next sweep.",
        ],
        test: Test {
            fires: &[("vitrine_store_errors_total{instance=\"g\",reason=\"no_space\"}", "0+1x10")],
            silent: &[
                ("vitrine_gateway_refused_total{instance=\"g\",reason=\"no_space\"}", "4x10"),
                ("vitrine_store_errors_total{instance=\"g\",reason=\"other\"}", "0+1x10"),
            ],
            at: "6m",
        },
    },
    Alert {
        name: "VitrineCertificateEndsSoon",
        severity: Critical,
        value: "min by (instance, certificate) (vitrine_certificate_expiry_timestamp_seconds) - time()",
        when: "< 259200",
        lasts: "10m",
        summary: "A certificate of {{ $labels.instance }} ({{ $labels.certificate }}) ends in {{ $value | humanizeDuration }}",
        means: "When it has ended, nobody connects any more: clients and other roles refuse it. What is connected goes on.",
        look: CERTIFICATE_LOOK,
        mend: CERTIFICATE_MEND,
        test: Test {
            fires: &[(
                "vitrine_certificate_expiry_timestamp_seconds{instance=\"g\",certificate=\"serving\"}",
                "172800x100",
            )],
            silent: &[(
                "vitrine_certificate_expiry_timestamp_seconds{instance=\"g\",certificate=\"serving\"}",
                "604800x100",
            )],
            at: "70m",
        },
    },
    Alert {
        name: "VitrineCertificateEnds",
        severity: Warning,
        value: "min by (instance, certificate) (vitrine_certificate_expiry_timestamp_seconds) - time()",
        when: "< 1209600",
        lasts: "1h",
        summary: "A certificate of {{ $labels.instance }} ({{ $labels.certificate }}) ends in {{ $value | humanizeDuration }}",
        means: "Nothing yet. When it has ended, clients and other roles refuse it.",
        look: CERTIFICATE_LOOK,
        mend: CERTIFICATE_MEND,
        test: Test {
            fires: &[(
                "vitrine_certificate_expiry_timestamp_seconds{instance=\"g\",certificate=\"serving\"}",
                "864000x100",
            )],
            silent: &[(
                "vitrine_certificate_expiry_timestamp_seconds{instance=\"g\",certificate=\"serving\"}",
                "5184000x100",
            )],
            at: "70m",
        },
    },
    Alert {
        name: "VitrineTargetDown",
        severity: Warning,
        value: "up{job=~\"vitrine.*\"}",
        when: "== 0",
        lasts: "2m",
        summary: "{{ $labels.instance }} does not answer",
        means: "A process is down, or cannot be reached by Prometheus. One of several of a role may be missing without anybody noticing.",
        look: &["Whether the process runs, and what its log ended with.", "`/livez` at its health port."],
        mend: &["Start it again. Whoever supervises processes does so by themselves; then ask why it keeps ending."],
        test: Test {
            fires: &[("up{job=\"vitrine\",instance=\"w\"}", "0x10")],
            silent: &[("up{job=\"vitrine\",instance=\"w\"}", "1x10")],
            at: "4m",
        },
    },
    Alert {
        name: "VitrineOldestJob",
        severity: Warning,
        value: "max by (tenant, model) (vitrine_queue_oldest_seconds)",
        when: "> 600",
        lasts: "5m",
        summary: "A job of {{ $labels.tenant }} for {{ $labels.model }} has waited for {{ $value | humanizeDuration }}",
        means: "Somebody waits. Tenants take turns, so that one with few jobs waits only where all are slow, or where theirs cannot run.",
        look: &[
            "`vitrine_queue_depth` by tenant: whether it is their own many jobs.",
            "`vitrine_scheduler_slots`: whether workers have room, and `vitrine_scheduler_replicas`: for this model.",
            "`vitrine job list --state queued` and `vitrine job show ID`.",
        ],
        mend: &[
            "Add workers: `vitrine_scheduler_pending_gpus` says how many these jobs would fill.",
            "End what runs for too long with `vitrine job cancel ID`.",
        ],
        test: Test {
            fires: &[("vitrine_queue_oldest_seconds{tenant=\"a\",model=\"m\"}", "700+60x20")],
            silent: &[("vitrine_queue_oldest_seconds{tenant=\"a\",model=\"m\"}", "30x20")],
            at: "8m",
        },
    },
    Alert {
        name: "VitrineQueueFull",
        severity: Warning,
        value: "max(vitrine_gateway_backlog_jobs / vitrine_gateway_backlog_limit_jobs)",
        when: "> 0.9",
        lasts: "5m",
        summary: "{{ $value | humanizePercentage }} of the jobs that may wait do: soon everybody is refused",
        means: "At the limit every request gets 503 with `Retry-After`. What was accepted is not concerned.",
        look: &["`vitrine_queue_depth` by tenant and model: whose jobs they are."],
        mend: &[
            "Add workers, or raise `gateway.queued_jobs` where etcd has room (a job is four records and 4 KiB at most).",
            "Lower `gateway.queued_jobs_per_tenant` where one tenant fills it.",
        ],
        test: Test {
            fires: &[("vitrine_gateway_backlog_jobs", "95000x20"), ("vitrine_gateway_backlog_limit_jobs", "100000x20")],
            silent: &[("vitrine_gateway_backlog_jobs", "5000x20"), ("vitrine_gateway_backlog_limit_jobs", "100000x20")],
            at: "8m",
        },
    },
    Alert {
        name: "VitrineTenantFloods",
        severity: Warning,
        value: "sum(rate(vitrine_gateway_refused_total{reason=~\"own_queue_full|quota|rate\"}[5m]))",
        when: "> 1",
        lasts: "5m",
        summary: "Requests are refused since somebody sends more than a tenant may{{ range query \"topk(1, sum by (tenant) \
                  (vitrine_queue_depth))\" }}; most jobs wait for {{ .Labels.tenant }}{{ end }}",
        means: "That tenant's requests get 429. Others are not concerned: that is what the bound is for.",
        look: &["`vitrine_queue_depth` by tenant.", "The gateways' log lines with status 429, which have the tenant."],
        mend: &[
            "Talk to them: a loop that does not wait for `Retry-After` sends for nothing.",
            "`vitrine tenant suspend NAME` stops all of theirs.",
        ],
        test: Test {
            fires: &[("vitrine_gateway_refused_total{reason=\"own_queue_full\"}", "0+120x20")],
            silent: &[("vitrine_gateway_refused_total{reason=\"own_queue_full\"}", "0+3x20")],
            at: "12m",
        },
    },
    Alert {
        name: "VitrineOutsideFails",
        severity: Critical,
        value: "sum by (model) (increase(vitrine_outside_runs_total{outcome!=\"completed\"}[5m]))",
        when: "> 1.5",
        lasts: "0m",
        summary: "What is sent from outside to {{ $labels.model }} does not come back",
        means: "`vitrine canary` sends each model a small program as any client does. Two of its last came to nothing, so users' do, too, \
                whatever the parts of the cluster say of themselves.",
        look: &[
            "The canary's log, or `vitrine canary --every 0s`: it says what was answered, or that nobody did.",
            "`vitrine_outside_runs_total` by outcome: `unreached` is the way to the gateway, `refused` its key or quota, `late` what is \
             behind it, `failed` the model.",
            "The line on top of `/admin`, and the other alerts: what is wrong inside is mostly named there.",
        ],
        mend: &[
            "`unreached`: the load balancer, the ingress or the certificate between the canary and the gateways.",
            "`refused`: give the canary a key that may submit and whose tenant has no tight quota.",
            "`late`: `/admin` says why jobs of the model wait. Where the canary waits behind users' own jobs, give its tenant the class \
             high.",
        ],
        test: Test {
            fires: &[("vitrine_outside_runs_total{model=\"m\",outcome=\"late\"}", "0x5 1x3 2x3 3x10")],
            silent: &[
                ("vitrine_outside_runs_total{model=\"m\",outcome=\"late\"}", "0x5 1x15"),
                ("vitrine_outside_runs_total{model=\"m\",outcome=\"completed\"}", "0+1x20"),
            ],
            at: "10m",
        },
    },
    Alert {
        name: "VitrineRanksLost",
        severity: Warning,
        value: "sum(increase(vitrine_ranks_lost_total[1h]) or vector(0))",
        when: "> 0.5",
        lasts: "0m",
        summary: "Ranks of a model were lost while they served it",
        means: "A model that lies in several processes is served by all of them or by none: the process that led them has ended with \
                them. Its jobs run again, elsewhere or there when the model is loaded again.",
        look: &[
            "The worker's log: `a model's ranks are lost` says which rank, and whether it ended or did not answer.",
            "`vitrine_ranks_lost_total` by reason: after a `timeout` look at the network between the ranks and at the GPUs; one that \
             `ended` was killed, mostly for memory (`dmesg`).",
        ],
        mend: &[
            "Once needs nothing. Where it comes again on the same machines, take them out (`vitrine node drain NAME`) and have their \
             network, or their GPUs' links, looked at.",
        ],
        test: Test {
            fires: &[("vitrine_ranks_lost_total{model=\"m\",reason=\"timeout\"}", "0x5 1x15")],
            silent: &[("vitrine_ranks_lost_total{model=\"m\",reason=\"timeout\"}", "0x20")],
            at: "10m",
        },
    },
    Alert {
        name: "VitrineCanaryDrift",
        severity: Critical,
        value: "sum by (instance, model) (increase(vitrine_canary_runs_total{outcome=\"drifted\"}[15m]))",
        when: "> 0",
        lasts: "0m",
        summary: "{{ $labels.model }} on {{ $labels.instance }} gives other numbers than it gave",
        means: "The program that each model runs among its users' had other bits than before under the same kernels, or numbers far \
                from those that it has alone. Results of jobs that this worker runs may be wrong, without an error.",
        look: &[
            "The worker's log: `the model gives other numbers than it gave` has the kernels and how far they are apart.",
            "The machine's memory and its GPU: `dmesg` and `nvidia-smi -q` name errors that were corrected, and those that were not.",
            "Whether other workers of the same model see it as well: then it is no broken part but a fault of this version.",
        ],
        mend: &[
            "The worker has loaded the model again by itself, and what ran beside the canary runs again. Where it drifts again within an \
             hour, that was no flipped bit: take the worker out at once (`vitrine node drain NAME`).",
            "Tell the tenants whose jobs it ran since the last run of the same bits (`vitrine job list --json`); only they know what they \
             make of it.",
            "Where the machine is sound and it comes again, keep the log and report it.",
        ],
        test: Test {
            fires: &[("vitrine_canary_runs_total{instance=\"w\",model=\"m\",outcome=\"drifted\"}", "0x5 1x15")],
            silent: &[("vitrine_canary_runs_total{instance=\"w\",model=\"m\",outcome=\"drifted\"}", "0x20")],
            at: "8m",
        },
    },
    Alert {
        name: "VitrineWeightsChanged",
        severity: Critical,
        value: "sum by (instance, model) (increase(vitrine_weights_scrubs_total{outcome=\"changed\"}[15m]))",
        when: "> 0",
        lasts: "0m",
        summary: "The weights of {{ $labels.model }} on {{ $labels.instance }} changed in memory",
        means: "While nobody computed with them, a worker compared a model's weights with what it had loaded, and found others. Results \
                of jobs that it ran since the comparison before may be wrong, without an error. The worker has taken the model out of \
                service and read it from its files again.",
        look: &[
            "The worker's log: `the model's weights in memory have changed` says which slice of how many.",
            "The machine's memory and its GPU: `dmesg`, `edac-util` and `nvidia-smi -q` name errors that were corrected, and those that \
             were not.",
            "`vitrine_weights_scrubs_total{outcome=\"same\"}`: when the comparison before was, after which results are in doubt.",
        ],
        mend: &[
            "Once may be a stray particle. Twice on one machine is its memory: `vitrine node drain NAME`, and have the machine looked at.",
            "Tell the tenants whose jobs it ran since the comparison before (`vitrine job list --json`); only they know what they make of \
             it.",
            "Memory that corrects errors (ECC) is what prevents it.",
        ],
        test: Test {
            fires: &[("vitrine_weights_scrubs_total{instance=\"w\",model=\"m\",outcome=\"changed\"}", "0x5 1x15")],
            silent: &[("vitrine_weights_scrubs_total{instance=\"w\",model=\"m\",outcome=\"changed\"}", "0x20")],
            at: "8m",
        },
    },
    Alert {
        name: "VitrineModelFailed",
        severity: Warning,
        value: "sum by (model) (vitrine_model_state{state=\"failed\"})",
        when: "> 0",
        lasts: "5m",
        summary: "{{ $value }} workers could not load {{ $labels.model }}",
        means: "The model has fewer workers than it might. It is tried again, unless what is wrong with it is so everywhere.",
        look: &[
            "The worker's log: `the model cannot be served` has the reason.",
            "`vitrine model check FOLDER` on that machine.",
        ],
        mend: &["Mend the folder, or take the model from the schedulers' `models`."],
        test: Test {
            fires: &[("vitrine_model_state{instance=\"w\",model=\"m\",state=\"failed\"}", "1x20")],
            silent: &[("vitrine_model_state{instance=\"w\",model=\"m\",state=\"failed\"}", "0x20")],
            at: "8m",
        },
    },
    Alert {
        name: "VitrineModelLoadsForLong",
        severity: Warning,
        value: "sum by (instance, model) (vitrine_model_state{state=\"loading\"})",
        when: "> 0",
        lasts: "30m",
        summary: "{{ $labels.instance }} has been loading {{ $labels.model }} for half an hour",
        means: "The worker takes no job for this model meanwhile.",
        look: &[
            "`vitrine_model_loaded_ratio`: whether it gets on.",
            "What the disk or the network that the folder lies on gives.",
        ],
        mend: &["Copy models to a local disk. Where it does not get on at all, end the worker: it starts afresh."],
        test: Test {
            fires: &[("vitrine_model_state{instance=\"w\",model=\"m\",state=\"loading\"}", "1x60")],
            silent: &[("vitrine_model_state{instance=\"w\",model=\"m\",state=\"loading\"}", "1x10 0x50")],
            at: "35m",
        },
    },
    Alert {
        name: "VitrineWorkersDie",
        severity: Warning,
        value: "sum(increase(vitrine_scheduler_worker_departures_total{reason=~\"died|silent\"}[15m]))",
        when: "> 2",
        lasts: "0m",
        summary: "{{ $value | humanize }} processes of workers ended or fell silent within a quarter of an hour",
        means: "What they had runs again, each job by itself where it may have been the cause; that takes time.",
        look: &[
            "The workers' logs: what each ended with.",
            "The kernel's log: `Out of memory` names a process that it ended.",
            "`vitrine_worker_memory_bytes` against its limit.",
        ],
        mend: &[
            "Memory: set the worker's `memory`, where several share a machine.",
            "A job that three processes died under fails and says so; `vitrine job list --state failed` shows it.",
        ],
        test: Test {
            fires: &[("vitrine_scheduler_worker_departures_total{reason=\"died\"}", "0+1x20")],
            silent: &[
                ("vitrine_scheduler_worker_departures_total{reason=\"goodbye\"}", "0+1x20"),
                ("vitrine_scheduler_worker_departures_total{reason=\"died\"}", "1x20"),
            ],
            at: "16m",
        },
    },
    Alert {
        name: "VitrineWorkerMemory",
        severity: Warning,
        value: "sum by (instance) (vitrine_worker_memory_bytes{kind=\"jobs\"}) / sum by (instance) (vitrine_worker_memory_limit_bytes)",
        when: "> 0.95",
        lasts: "15m",
        summary: "Jobs on {{ $labels.instance }} hold {{ $value | humanizePercentage }} of the memory that they may",
        means: "Jobs that find no room are let go and come again when others have ended, which is slower for everybody.",
        look: &[
            "`vitrine_worker_jobs_total{outcome=\"crowded\"}`: how often that happens.",
            "`vitrine_tenant_model_seconds_total`: whose jobs run.",
        ],
        mend: &[
            "Lower `slots` of the worker, so that fewer jobs run beside each other, or raise its `memory` where the machine has more.",
        ],
        test: Test {
            fires: &[
                ("vitrine_worker_memory_bytes{instance=\"w\",kind=\"jobs\"}", "97x30"),
                ("vitrine_worker_memory_limit_bytes{instance=\"w\"}", "100x30"),
            ],
            silent: &[
                ("vitrine_worker_memory_bytes{instance=\"w\",kind=\"jobs\"}", "50x30"),
                ("vitrine_worker_memory_limit_bytes{instance=\"w\"}", "100x30"),
            ],
            at: "18m",
        },
    },
    Alert {
        name: "VitrineBatchesAreEmpty",
        severity: Warning,
        value: "vitrine:batch_occupancy:mean5m",
        when: "< 0.2 and on (model) sum by (model) (vitrine_queue_depth) > 0",
        lasts: "15m",
        summary: "Passes of {{ $labels.model }} are {{ $value | humanizePercentage }} full while jobs wait",
        means: "Jobs wait although they could share passes with those that run.",
        look: &[
            "Whether jobs ask for passes of their own: `batching` of their keys, and `exclusive` addresses.",
            "`vitrine_batch_jobs` and `vitrine_worker_jobs` by phase: whether jobs reach the engine.",
        ],
        mend: &[
            "Raise `slots` of the workers, where memory allows: more jobs run beside each other.",
            "Keys with `--batching shared` share passes; each tenant's are shown by `vitrine key list`.",
        ],
        test: Test {
            fires: &[
                ("vitrine_batch_occupancy_ratio_sum{model=\"m\"}", "0+1x40"),
                ("vitrine_batch_occupancy_ratio_count{model=\"m\"}", "0+10x40"),
                ("vitrine_queue_depth{tenant=\"a\",model=\"m\"}", "5x40"),
            ],
            silent: &[
                ("vitrine_batch_occupancy_ratio_sum{model=\"m\"}", "0+1x40"),
                ("vitrine_batch_occupancy_ratio_count{model=\"m\"}", "0+10x40"),
                ("vitrine_queue_depth{tenant=\"a\",model=\"m\"}", "0x40"),
            ],
            at: "25m",
        },
    },
    Alert {
        name: "VitrineWatchesResync",
        severity: Warning,
        value: "sum by (instance) (increase(vitrine_store_watch_resyncs_total[15m]))",
        when: "> 10",
        lasts: "0m",
        summary: "{{ $labels.instance }} misses changes of the store again and again",
        means: "It lists everything anew each time, which costs etcd much. Nothing is missed in the end.",
        look: &[
            "`vitrine_store_request_seconds`: whether etcd is slow.",
            "`process_cpu_seconds_total` of that process: whether it has a processor.",
        ],
        mend: &["Give the process, or etcd, more processors; run one gateway more."],
        test: Test {
            fires: &[("vitrine_store_watch_resyncs_total{instance=\"g\"}", "0+2x20")],
            silent: &[("vitrine_store_watch_resyncs_total{instance=\"g\"}", "1x20")],
            at: "16m",
        },
    },
    Alert {
        name: "VitrineVersionsDiffer",
        severity: Warning,
        value: "count(count by (version) (vitrine_build_info))",
        when: "> 1",
        lasts: "1h",
        summary: "Processes of {{ $value }} versions have run beside each other for an hour",
        means: "Neighbouring versions work together during an upgrade. One that was forgotten is not meant to stay.",
        look: &["`vitrine_build_info` by role and instance."],
        mend: &["Finish the upgrade: [cluster.md](../cluster.md#upgrade) has its order."],
        test: Test {
            fires: &[
                ("vitrine_build_info{version=\"1\",role=\"worker\"}", "1x80"),
                ("vitrine_build_info{version=\"2\",role=\"worker\"}", "1x80"),
            ],
            silent: &[
                ("vitrine_build_info{version=\"1\",role=\"worker\"}", "1x80"),
                ("vitrine_build_info{version=\"1\",role=\"gateway\"}", "1x80"),
            ],
            at: "70m",
        },
    },
];
