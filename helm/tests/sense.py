"""What no schema says: that the parts of a rendered chart fit each other, the programs and their documentation."""
import json
import re
import tomllib

import promql_parser
import yaml

import readme
from chart import CHART, EXAMPLES, Loader, containers, named, render, role, workloads

# What a gateway needs to close beyond its drain: twice LINGER of cli/src/serving.rs, and a second for its threads.
CLOSING = 5
# GOODBYE of worker/src/worker.rs.
GOODBYE = 2
# STUCK of crates/health/src/lib.rs.
STUCK = 30


def the_readme_says_what_can_be_set():
    assert (CHART / "README.md").read_text() == readme.text(), "helm/vitrine/README.md is not of these values: run helm/tests/readme.py"


def the_schema_is_closed_and_knows_every_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.load((CHART / "values.yaml").read_text(), Loader)
    open_ends = set()

    def look(node, path):
        if isinstance(node, dict):
            if node.get("type") == "object" and node.get("additionalProperties", True) is True:
                open_ends.add(path)
            for key, inner in node.items():
                look(inner, f"{path}.{key}" if key not in ("properties", "items", "definitions") else path)
        elif isinstance(node, list):
            for inner in node:
                look(inner, path)

    look(schema, "")
    allowed = re.compile(r"(\.extra\w+|\.global|^\.env|^\.settings)$")
    assert all(allowed.search(path) for path in open_ends), open_ends
    missing = undefined(schema, schema, values, "") + undefined(schema, schema["definitions"]["worker"], values["workerDefaults"], "workerDefaults")
    assert not missing, missing


def undefined(schema, node, values, path):
    """Returns values without a place in the schema, and places without a value, of all that is no list."""
    while "$ref" in node:
        node = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
    known = node.get("properties")
    if known is None or not isinstance(values, dict) or not values:
        return []
    # What is named in full by each resource, volume or toleration, and a chart above this one.
    optional = {"requests", "limits", "global"}
    found = [f"{path}.{key} is in no schema" for key in values.keys() - known.keys()]
    found += [f"{path}.{key} has no default" for key in known.keys() - values.keys() - optional]
    for key in values.keys() & known.keys():
        found += undefined(schema, known[key], values[key], f"{path}.{key}")
    return found


def names_refer_to_what_is_there():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        own = {kind: named(everything, kind) for kind in ("ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount", "ResourceClaimTemplate")}
        given = str(yaml.load(example.read_text(), Loader))
        made = {one["spec"]["secretName"] for one in everything if one["kind"] == "Certificate"} | own["Secret"].keys()
        for workload in workloads(everything):
            spec = workload["spec"]["template"]["spec"]
            where = f"{example.name}: {workload['metadata']['name']}"
            assert spec["serviceAccountName"] in own["ServiceAccount"], where
            claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
            volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
            assert len(volumes) == len(spec.get("volumes", [])), f"{where}: two volumes of one name"
            for volume in volumes.values():
                if "configMap" in volume:
                    assert volume["configMap"]["name"] in own["ConfigMap"], f"{where}: {volume}"
                if "secret" in volume:
                    name = volume["secret"]["secretName"]
                    assert name in made or f"'{name}'" in given, f"{where}: nobody makes the Secret {name}"
                if "persistentVolumeClaim" in volume:
                    name = volume["persistentVolumeClaim"]["claimName"]
                    assert name in own["PersistentVolumeClaim"] or f"'{name}'" in given, f"{where}: {name}"
            for claim in spec.get("resourceClaims", []):
                assert claim["resourceClaimTemplateName"] in own["ResourceClaimTemplate"], where
            mounted = set()
            for container in containers(workload):
                ports = {port["name"] for port in container.get("ports", [])}
                paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
                assert len(paths) == len(set(paths)), f"{where}: two mounts at one path: {paths}"
                for mount in container.get("volumeMounts", []):
                    assert mount["name"] in volumes.keys() | claims, f"{where}: {mount}"
                    mounted.add(mount["name"])
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    assert probe not in container or container[probe]["httpGet"]["port"] in ports, where
            assert mounted == volumes.keys() | claims, f"{where}: {volumes.keys() ^ mounted} is mounted nowhere"


def selectors_find_their_own_pods_and_no_others():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        pods = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads(everything)}

        def found(selector):
            return {name for name, labels in pods.items() if selector.items() <= labels.items()}

        for workload in workloads(everything):
            name = workload["metadata"]["name"]
            assert found(workload["spec"]["selector"]["matchLabels"]) == {name}, f"{example.name}: {name}"
        for service in named(everything, "Service").values():
            [name] = found(service["spec"]["selector"])
            ports = {port["name"] for one in workloads(everything) if one["metadata"]["name"] == name for port in containers(one)[-1]["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, f"{example.name}: {name}"
        budgets = [found(one["spec"]["selector"]["matchLabels"]) for one in named(everything, "PodDisruptionBudget").values()]
        served = [{name} for name in pods if not name.endswith("-etcd")]
        assert sorted(budgets, key=str) == sorted(served, key=str), f"{example.name}: {budgets}"
        for policy in named(everything, "NetworkPolicy").values():
            assert found(policy["spec"]["podSelector"]["matchLabels"]), policy["metadata"]["name"]
            assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        covered = set().union(*(found(one["spec"]["podSelector"]["matchLabels"]) for one in named(everything, "NetworkPolicy").values()))
        assert covered == pods.keys(), f"{example.name}: {pods.keys() - covered} may be reached by everybody"


def nobody_may_reach_a_worker_or_etcd_who_need_not():
    for example in EXAMPLES:
        policies = named(render("Helm 3", example), "NetworkPolicy")
        worker = next(one for name, one in policies.items() if name.endswith("-worker"))
        opened = {port["port"] for rule in worker["spec"]["ingress"] for port in rule["ports"]}
        assert opened == {"health"}, opened
        for name, policy in policies.items():
            if name.endswith(("-etcd", "-scheduler")):
                for rule in policy["spec"]["ingress"]:
                    assert rule["from"], f"{name} may be reached by everybody"


def a_process_that_is_busy_loads_or_waits_for_etcd_is_not_killed():
    for example in EXAMPLES:
        for workload in workloads(render("Helm 3", example)):
            container, name = containers(workload)[-1], f"{example.name}: {workload['metadata']['name']}"
            startup, liveness, readiness = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
            paths = [probe["httpGet"]["path"] for probe in (startup, liveness, readiness)]
            if role(workload) == "etcd":
                # One that has no quorum is not mended by a restart.
                assert "serializable=true" in paths[0] and "serializable=true" in paths[1], name
                continue
            # Only a worker comes up without etcd or anybody else.
            expected = "/startupz" if role(workload) == "worker" else "/livez"
            assert paths == [expected, "/livez", "/readyz"], f"{name}: {paths}"
            assert liveness["failureThreshold"] * liveness["periodSeconds"] >= 2 * STUCK, name
            budget = startup["failureThreshold"] * startup["periodSeconds"]
            assert budget >= (600 if role(workload) == "worker" else 60), f"{name}: {budget}"


def who_ends_has_longer_than_it_takes():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        for workload in workloads(everything):
            spec, container = workload["spec"]["template"]["spec"], containers(workload)[-1]
            grace, name = spec["terminationGracePeriodSeconds"], f"{example.name}: {workload['metadata']['name']}"
            if role(workload) != "gateway":
                assert grace > GOODBYE and "lifecycle" not in container, name
                continue
            settings = tomllib.loads(named(everything, "ConfigMap")[workload["metadata"]["name"]]["data"]["gateway.toml"])
            before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = int(re.fullmatch(r"(\d+)s", settings["drain"])[1])
            assert grace > before + drain + CLOSING, f"{name}: {grace} s is not longer than {before} + {drain} + {CLOSING}"


def every_model_is_where_schedulers_say_in_the_pools_that_run_it_and_in_no_other():
    for example in EXAMPLES:
        everything, values = render("Helm 3", example), yaml.load(example.read_text(), Loader)
        own = {volume["name"] for volume in values["modelVolumes"] if "fill" in volume}
        [config] = [one["data"]["scheduler.toml"] for one in named(everything, "ConfigMap").values() if "scheduler.toml" in one["data"]]
        folders = dict(one.split(",")[0].split("=") for one in tomllib.loads(config)["models"])
        folders = {name.split("@")[0]: folder for name, folder in folders.items()}
        lists = {pool["name"]: pool.get("models") or list(folders) for pool in values["workerPools"]}
        for workload in workloads(everything):
            mounts = {mount["mountPath"]: mount for mount in containers(workload)[-1]["volumeMounts"]}
            for name, folder in folders.items():
                # The mount of the folder itself, or of the volume around it.
                found = [path for path, mount in mounts.items() if folder == path or (folder.startswith(f"{path}/") and "subPath" not in mount)]
                labels = workload["spec"]["template"]["metadata"]["labels"]
                wanted = {
                    "gateway": folder.split("/")[2] not in own,
                    "worker": name in lists.get(labels.get("vitrine.internal/pool"), []),
                }.get(role(workload), False)
                assert bool(found) == wanted, f"{example.name}: {workload['metadata']['name']} {'lacks' if wanted else 'has'} {folder}"
                assert all(mounts[path]["readOnly"] for path in found)


def a_rollout_neither_needs_more_gpus_nor_goes_on_while_models_load():
    for example in EXAMPLES:
        for workload in workloads(render("Helm 3", example)):
            if role(workload) == "worker":
                spec = workload["spec"]
                assert spec["strategy"]["rollingUpdate"]["maxSurge"] == 0 and spec["minReadySeconds"] > 0
                assert spec["progressDeadlineSeconds"] > spec["minReadySeconds"]


def no_autoscaler_fights_with_a_number_of_replicas_or_falls_silent():
    seen = set()
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        for scaler in everything:
            if scaler["kind"] not in ("ScaledObject", "HorizontalPodAutoscaler"):
                continue
            target = scaler["spec"]["scaleTargetRef"]
            workload = named(everything, target["kind"])[target["name"]]
            assert "replicas" not in workload["spec"], f"{example.name}: {target['name']}"
            seen.add(scaler["kind"])
            if scaler["kind"] == "ScaledObject":
                [trigger] = scaler["spec"]["triggers"]
                assert trigger["metadata"]["ignoreNullValues"] == "false" and trigger["metricType"] == "AverageValue"
                assert scaler["spec"]["fallback"]["replicas"] >= 1
                promql_parser.parse(trigger["metadata"]["query"])
                # One value: KEDA takes no list.
                assert trigger["metadata"]["query"].startswith("sum("), trigger
                down = scaler["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
                assert down["stabilizationWindowSeconds"] >= 300, down
    assert seen == {"ScaledObject", "HorizontalPodAutoscaler"}


def every_alert_can_be_parsed_and_names_of_metrics_are_in_one_place():
    [rule] = [one for example in EXAMPLES for one in render("Helm 3", example) if one["kind"] == "PrometheusRule"]
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    for alert in alerts:
        promql_parser.parse(alert["expr"])
        assert "@" not in str(alert) and re.search(r'namespace="|up\{job=~"', alert["expr"]), alert
        if "record" in alert:
            continue
        about = alert["annotations"]
        # What is about pods, by the metrics of Kubernetes or KEDA, has docs/kubernetes.md.
        of_pods = re.search(r"kube_|keda_", alert["expr"])
        assert about["summary"] and (of_pods or about["runbook_url"].endswith(f"/{alert['alert']}.md")), alert
    assert len({alert.get("alert") or alert["record"] for alert in alerts}) == len(alerts) > 15
    for file in sorted((CHART / "templates").iterdir()):
        # A name of the chart's own has no unit at its end.
        literal = re.findall(r"vitrine_[a-z]+_\w+", file.read_text())
        assert file.name == "_metrics.tpl" or not literal, f"{file.name} names {literal}"


def pods_of_a_role_are_spread_and_those_with_gpus_find_their_nodes():
    queues = set()
    for example in EXAMPLES:
        for workload in workloads(render("Helm 3", example)):
            template = workload["spec"]["template"]
            spec, labels, name = template["spec"], template["metadata"]["labels"], f"{example.name}: {workload['metadata']['name']}"
            if role(workload) == "etcd":
                continue
            spread = {one["topologyKey"]: one["labelSelector"]["matchLabels"] for one in spec["topologySpreadConstraints"]}
            wanted = yaml.safe_load(example.read_text()).get("topologySpread", {})
            keys = {"kubernetes.io/hostname": "node", "topology.kubernetes.io/zone": "zone"}
            assert spread.keys() == {key for key, value in keys.items() if wanted.get(value, "ScheduleAnyway")}, name
            assert all(selector.items() <= labels.items() for selector in spread.values()), name
            resources = containers(workload)[-1]["resources"]
            gpus = {key for key in resources["limits"] if key not in ("memory", "cpu")}
            if gpus or "claims" in resources:
                assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"], name
            assert bool(spec.get("resourceClaims")) == ("claims" in resources), name
            queue = labels.get("kueue.x-k8s.io/queue-name")
            assert queue == workload["metadata"]["labels"].get("kueue.x-k8s.io/queue-name"), name
            queues.add(queue)
    assert queues == {None, "research"}, queues


def a_model_on_several_ranks_has_a_gpu_for_each_in_one_pod():
    seen = 0
    for example in EXAMPLES:
        everything, values = render("Helm 3", example), yaml.safe_load(example.read_text())
        pools = {one["spec"]["template"]["metadata"]["labels"].get("vitrine.internal/pool"): one for one in workloads(everything)}
        [scheduler] = [one for one in workloads(everything) if role(one) == "scheduler"]
        settings = tomllib.loads(named(everything, "ConfigMap")[scheduler["metadata"]["name"]]["data"]["scheduler.toml"])
        for model in values["models"]:
            if model.get("ranks", 1) > 1:
                assert any(one.startswith(f"{model['name']}=") and f"ranks={model['ranks']}" in one for one in settings["models"]), settings["models"]
                [pool] = [pool["name"] for pool in values["workerPools"] if model["name"] in pool.get("models", [])]
                assert containers(pools[pool])[-1]["resources"]["limits"]["nvidia.com/gpu"] == model["ranks"], pool
                seen += 1
    assert seen, "no example has such a model"


def nothing_in_front_ends_what_clients_follow():
    seen = set()
    for example in EXAMPLES:
        for route in render("Helm 3", example):
            if route["kind"] == "HTTPRoute":
                assert all(rule["timeouts"] == {"request": "0s", "backendRequest": "0s"} for rule in route["spec"]["rules"]), example.name
            if route["kind"] == "GRPCRoute":
                # Its rules have no timeout to set, and none by default.
                assert all("timeouts" not in rule for rule in route["spec"]["rules"]), example.name
            if route["kind"] == "Ingress":
                told = route["metadata"]["annotations"]
                assert int(told["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 3600, told
                assert told["nginx.ingress.kubernetes.io/proxy-body-size"] in ("0", "65m", "70m"), told
            if route["kind"] in ("HTTPRoute", "GRPCRoute", "Ingress"):
                seen.add(route["kind"])
    assert seen == {"HTTPRoute", "GRPCRoute", "Ingress"}, seen


def no_secret_lies_in_a_config_map():
    for example in EXAMPLES:
        for config in named(render("Helm 3", example), "ConfigMap").values():
            for text in config["data"].values():
                for line in text.splitlines():
                    if re.search(r"secret|password|token|key\b", line.split("=")[0]):
                        assert re.search(r'= "/etc/vitrine/[\w/.-]+"$', line), f"{config['metadata']['name']}: {line}"


CHECKS = [
    the_readme_says_what_can_be_set,
    the_schema_is_closed_and_knows_every_value,
    names_refer_to_what_is_there,
    selectors_find_their_own_pods_and_no_others,
    nobody_may_reach_a_worker_or_etcd_who_need_not,
    a_process_that_is_busy_loads_or_waits_for_etcd_is_not_killed,
    who_ends_has_longer_than_it_takes,
    every_model_is_where_schedulers_say_in_the_pools_that_run_it_and_in_no_other,
    a_rollout_neither_needs_more_gpus_nor_goes_on_while_models_load,
    no_autoscaler_fights_with_a_number_of_replicas_or_falls_silent,
    every_alert_can_be_parsed_and_names_of_metrics_are_in_one_place,
    pods_of_a_role_are_spread_and_those_with_gpus_find_their_nodes,
    a_model_on_several_ranks_has_a_gpu_for_each_in_one_pod,
    nothing_in_front_ends_what_clients_follow,
    no_secret_lies_in_a_config_map,
]
