// Looks whether custom resources are what their schemas say, and have no field that these do not know, which the schemas let
// pass and Kubernetes drops without a word. Reads a list of objects as JSON, and writes a list of faults.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.argv[2], "package.json"));
const packages = {
  "cert-manager.io": "cert-manager",
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};
// Below these, keys are the user's own.
const free = new Set(["labels", "annotations", "matchLabels"]);

// Returns the names of all fields in the types of a file, and in those that it imports.
function fields(file, seen = new Map()) {
  if (!seen.has(file)) {
    const text = readFileSync(file, "utf8");
    seen.set(file, [...text.matchAll(/^\s*"?([\w$-]+)"?\??:/gm)].map(([, name]) => name));
    for (const [, path] of text.matchAll(/ from "([^"]+?)(?:\.js)?"/g)) {
      const other = path.startsWith(".") ? join(dirname(file), path) : join(process.argv[2], "node_modules", path);
      if (existsSync(`${other}.d.ts`)) fields(`${other}.d.ts`, seen);
    }
  }
  return new Set([...seen.values()].flat());
}

function unknown(value, names, path) {
  if (Array.isArray(value)) return value.flatMap((one, place) => unknown(one, names, `${path}[${place}]`));
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = `${path}.${key}`;
    if (!names.has(key)) return [`${here} is no field that the schema knows`];
    const own = free.has(key) || (key === "metadata" && /triggers\[\d+\]$/.test(path));
    return own ? [] : unknown(inner, names, here);
  });
}

const faults = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const what = `${object.kind} ${object.metadata.name}`;
  const [group, version] = object.apiVersion.split("/");
  if (!packages[group]) {
    faults.push(`${what}: there is no schema for ${object.apiVersion}`);
    continue;
  }
  const root = dirname(require.resolve(`@kubernetes-models/${packages[group]}/package.json`));
  const place = join(root, group, version, object.kind);
  try {
    const { [object.kind]: Model } = await import(pathToFileURL(`${place}.js`));
    new Model(object).validate();
  } catch (error) {
    faults.push(`${what}: ${error.message}`);
    continue;
  }
  for (const fault of unknown(object.spec, fields(`${place}.d.ts`), "spec")) faults.push(`${what}: ${fault}`);
}
console.log(JSON.stringify(faults));
