#!/usr/bin/env python3
"""What must hold of Compose, Kubernetes, the chart and the list of parts: manifests.py compose|kubernetes|chart|sbom DEPLOY SCHEMAS

For `check`. DEPLOY is the folder to check, SCHEMAS one with wheels (kubernetes-validate, check-jsonschema and
cyclonedx-python-lib), of which only the schemas are read; for Kubernetes and the chart, one with helm/helm and kubectl/kubectl, in
TOOLS. Prints every fault; exit code 1 where there is one.
"""

import base64
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import yaml

# The oldest that has all that is used, and the newest known.
KUBERNETES = ("1.30.0", "1.37.0")
# For what only KEDA and the Prometheus operator know.
OWN_SCHEMAS = Path(__file__).parent / "custom-resources.json"
PINNED = re.compile(r":v?[0-9]+\.[0-9]+[^/]*$")

FAULTS = []


def fault(where, what):
    FAULTS.append(f"{where}: {what}")


def wheel(folder, name):
    return zipfile.ZipFile(next(Path(folder).glob(f"{name}-*.whl")))


def judge(where, value, schema, resolver=None):
    validator = jsonschema.validators.validator_for(schema)(schema, resolver=resolver)
    for error in validator.iter_errors(value):
        worst = jsonschema.exceptions.best_match([error])
        fault(where, f"{'.'.join(map(str, error.absolute_path))}: {worst.message}")


# --- Compose -------------------------------------------------------------------------------------------------


def compose(deploy, schemas):
    file = deploy / "compose.yaml"
    document = yaml.safe_load(file.read_text())
    schema = json.loads(wheel(schemas, "check_jsonschema").read("check_jsonschema/builtin_schemas/vendor/compose-spec.json"))
    judge(file.name, document, schema)
    services = document["services"]
    for name, service in services.items():
        where = f"{file.name}: {name}"
        check_service(where, service, services)
        check_secrets(where, service, document["secrets"])
        for other in (volume.split(":")[0] for volume in service.get("volumes", [])):
            if not (deploy / other).exists() if other.startswith(".") else other not in document["volumes"]:
                fault(where, f"the volume {other} is not there")
    for name, source in {**document["secrets"], **document["configs"]}.items():
        if "content" not in source and not (deploy / source["file"]).is_file():
            fault(file.name, f"the file of {name} is not there")
    check_passwords({name: (deploy / source["file"]).read_text().strip() for name, source in document["secrets"].items()},
                    json.loads((deploy / "compose/rabbitmq.json").read_text())["users"],
                    (deploy / "compose/users.sql").read_text(),
                    services["sandbox"]["environment"])


def check_secrets(where, service, declared):
    """A secret has its own name in the service, or a target."""
    given = [s if isinstance(s, dict) else {"source": s, "target": s} for s in service.get("secrets", [])]
    for secret in given:
        if secret["source"] not in declared:
            fault(where, f"the secret {secret['source']} is not declared")
    mounted = {f"/run/secrets/{secret['target']}" for secret in given}
    named = {value for name, value in service.get("environment", {}).items() if name.endswith("_FILE")}
    if not named <= mounted:
        fault(where, f"secrets are mounted at {sorted(mounted)} and looked for at {sorted(named)}")


def check_passwords(secrets, broker_users, database_users, sandbox):
    """Both sides of each connection know the same."""
    if urlsplit(secrets["database_url_owner"]).password != secrets["postgres_password"]:
        fault("compose", "the password in database_url_owner is not PostgreSQL's")
    made = dict(re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '([^']*)'", database_users))
    hashes = {user["name"]: base64.b64decode(user["password_hash"]) for user in broker_users}
    for name, url in ((name, urlsplit(text)) for name, text in secrets.items()):
        if name.startswith("database_url_") and name != "database_url_owner" and made.get(url.username) != url.password:
            fault("compose", f"the user in {name} is not one that users.sql makes")
        if name.startswith("amqp_url_"):
            hashed = hashes.get(url.username, b"")
            if hashlib.sha256(hashed[:4] + url.password.encode()).digest() != hashed[4:]:
                fault("compose", f"the user in {name} is not RabbitMQ's")
    if sandbox["DOKU_SECRET_KEY"] != secrets["doku_secret_key"]:
        fault("compose", "doku_secret_key is not the sandbox's")


def is_ours(image):
    return image.removeprefix("${IMAGE:-").startswith("jenius-pay:")


def check_service(where, service, services):
    ours = is_ours(service["image"])
    if not PINNED.search(service["image"]):
        fault(where, "its image has no version")
    if set(service["deploy"]["resources"]["limits"]) != {"cpus", "memory"}:
        fault(where, "no limit of its processors and memory")
    if "no-new-privileges:true" not in service.get("security_opt", []):
        fault(where, "it may gain privileges")
    if ours and not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
        fault(where, "not read_only, or not without capabilities")
    if not ours and "healthcheck" not in service:
        fault(where, "no health check")
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            fault(where, f"the port {port} is open to the network")
    for other, wanted in service.get("depends_on", {}).items():
        healthy = "test" in services[other].get("healthcheck", {}) or is_ours(services[other]["image"])
        if wanted["condition"] == "service_healthy" and not healthy:
            fault(where, f"{other} never becomes healthy")


# --- Kubernetes ----------------------------------------------------------------------------------------------


class Schemas:
    def __init__(self, folder):
        self.wheel = wheel(folder, "kubernetes_validate")
        self.own = json.loads(OWN_SCHEMAS.read_text())
        self.read = functools.lru_cache(None)(lambda path: json.loads(self.wheel.read(path)))

    def judge(self, where, document):
        kind, version = document["kind"], document["apiVersion"]
        own = self.own["resources"].get(f"{version}/{kind}")
        if own:
            return judge(where, document, {**own, "definitions": self.own["definitions"]})
        group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", version)
        for release in KUBERNETES:
            folder = f"kubernetes_validate/kubernetes-json-schema/v{release}-local-strict"
            schema, definitions = (self.read(f"{folder}/{name}.json") for name in (f"{kind.lower()}-{group}", "_definitions"))
            store = {definitions["$id"]: definitions}
            judge(f"{where} ({release})", document, schema, jsonschema.RefResolver("", schema, store=store))
        return None


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kubernetes(deploy, schemas):
    schemas = Schemas(schemas)
    for folder in sorted(path for path in (deploy / "kubernetes").iterdir() if path.is_dir()):
        check_folder(folder, schemas)
    paths = [path for folder in ("base", "prune", "operator", "console") for path in (deploy / "kubernetes" / folder).glob("*.yaml")]
    check_together([document for path in paths for document in documents(path)])
    for document in documents_of(output(tool("kubectl"), "kustomize", str(deploy / "kubernetes/example"))):
        schemas.judge(f"example, rendered: {document['metadata']['name']}", document)


def check_folder(folder, schemas):
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    resources = listed.get("resources", []) + listed.get("components", [])
    for name in resources:
        if not (folder / name).exists():
            fault(folder.name, f"kustomization.yaml names {name}, which is not there")
    for path in folder.glob("*.yaml"):
        if path.name == "kustomization.yaml":
            continue
        if path.name not in resources:
            fault(folder.name, f"kustomization.yaml leaves {path.name} out")
        for document in documents(path):
            schemas.judge(f"{folder.name}/{path.name}", document)


def check_together(resources):
    of_kind = {}
    for resource in resources:
        of_kind.setdefault(resource["kind"], []).append(resource)
    pods = {r["metadata"]["name"]: r["spec"]["template"] for r in of_kind["Deployment"] + of_kind["Job"]}
    pods.update({r["metadata"]["name"]: r["spec"]["jobTemplate"]["spec"]["template"] for r in of_kind["CronJob"]})
    for name, pod in pods.items():
        check_pod(name, pod)
    for deployment in of_kind["Deployment"]:
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        if deployment["spec"]["selector"]["matchLabels"] != labels:
            fault(name, "it selects other pods than its own")
        budgets = [b for b in of_kind["PodDisruptionBudget"] if b["spec"]["selector"]["matchLabels"] == labels]
        if len(budgets) != 1:
            fault(name, f"{len(budgets)} disruption budgets, not one")
        check_serving(name, deployment["spec"]["template"]["spec"]["containers"][0])
    check_services(of_kind["Service"], pods)
    policies = of_kind["NetworkPolicy"]
    closed = [p for p in policies if set(p["spec"]) == {"podSelector", "policyTypes"} and len(p["spec"]["policyTypes"]) == 2]
    if len(closed) != 1 or not all(selects(closed[0]["spec"]["podSelector"], pod) for pod in pods.values()):
        fault("network", "no policy that closes every pod")
    for policy in policies:
        if not any(selects(policy["spec"]["podSelector"], pod) for pod in pods.values()):
            fault(policy["metadata"]["name"], "it selects no pod")


def selects(selector, pod):
    labels = pod["metadata"]["labels"]
    matched = selector.get("matchLabels", {}).items() <= labels.items()
    return matched and all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


def check_pod(name, pod):
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    if not PINNED.search(container["image"]):
        fault(name, "its image has no version")
    if not (spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"):
        fault(name, "it may run as root, or call what it likes")
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    if container["securityContext"] != wanted:
        fault(name, f"its container's securityContext is not {wanted}")
    if spec["automountServiceAccountToken"] or spec["enableServiceLinks"]:
        fault(name, "it sees the cluster")
    for bound in ("requests", "limits"):
        if set(container["resources"][bound]) != {"cpu", "memory"}:
            fault(name, f"no {bound} of processor and memory")
    folder = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets")
    secret = next(volume["secret"] for volume in spec["volumes"] if volume["name"] == "secrets")
    mounted = {f"{folder}/{item['path']}" for item in secret["items"]}
    named = {variable["value"] for variable in container["env"] if variable["name"].endswith("_FILE")}
    if mounted != named:
        fault(name, f"secrets are mounted at {sorted(mounted)} and looked for at {sorted(named)}")


def check_serving(name, container):
    ports = {port["name"] for port in container["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        if container.get(probe, {}).get("httpGet", {}).get("port") not in ports:
            fault(name, f"its {probe} asks no port of its own")


def check_services(services, pods):
    for service in services:
        ports = [
            {port["name"] for port in pod["spec"]["containers"][0].get("ports", [])}
            for pod in pods.values() if selects({"matchLabels": service["spec"]["selector"]}, pod)
        ]
        for port in service["spec"]["ports"]:
            if not any(port["targetPort"] in offered for offered in ports):
                fault(service["metadata"]["name"], f"no pod of it has the port {port['targetPort']}")


# --- the chart -----------------------------------------------------------------------------------------------


def tool(name):
    return str(Path(os.environ["TOOLS"]) / name / name)


def output(*command):
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode:
        fault(Path(command[0]).name, ran.stderr.strip())
    return ran.stdout


def chart(deploy, schemas):
    """With its defaults it makes what kustomize makes, and with the console too; an example of a cluster's own is valid."""
    helm, kubectl = tool("helm"), tool("kubectl")
    folder = deploy / "helm/jenius-pay"
    output(helm, "lint", "--strict", str(folder))
    compare(by_name(output(helm, "template", "jenius-pay", str(folder))),
            rendered(kubectl, deploy, ["prune", "operator"]))
    compare(by_name(output(helm, "template", "jenius-pay", str(folder), "--set", "console.enabled=true")),
            rendered(kubectl, deploy, ["prune", "operator", "console"]))
    judges = Schemas(schemas)
    values = str(folder / "values.example.yaml")
    for document in documents_of(output(helm, "template", "jenius-pay", str(folder), "--values", values)):
        judges.judge(f"chart, by its example: {document['metadata']['name']}", document)


def rendered(kubectl, deploy, components):
    with tempfile.TemporaryDirectory() as scratch:
        away = lambda name: os.path.relpath(deploy / "kubernetes" / name, os.path.realpath(scratch))
        kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                         "resources": [away("base")], "components": [away(name) for name in components]}
        (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return by_name(output(kubectl, "kustomize", scratch))


def compare(ours, theirs):
    for name in ours.keys() ^ theirs.keys():
        fault("chart", f"{name} is in one of the chart and kubernetes/ only")
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            fault("chart", f"{name} is not as in kubernetes/:\n{ours[name]}\n{theirs[name]}")


def documents_of(text):
    return [document for document in yaml.safe_load_all(text) if document]


def by_name(text):
    """Kustomize puts a hash behind the ConfigMap's name, the chart behind that of the Job, which need not go by itself then."""
    found = {}
    for document in documents_of(text):
        document["spec"] = {name: value for name, value in document.get("spec", {}).items() if name != "ttlSecondsAfterFinished"}
        document["spec"].get("template", {}).get("metadata", {}).pop("annotations", None)
        written = re.sub(r'"(jenius-pay(?:-migrate)?)-[bcdfghkmt0-9a-f]{10}"', r'"\1"', json.dumps(document, sort_keys=True))
        document = json.loads(written)
        found[f"{document['kind']} {document['metadata']['name']}"] = document
    return found


# --- the list of parts ---------------------------------------------------------------------------------------


def sbom(deploy, schemas):
    source = wheel(schemas, "cyclonedx_python_lib")
    schema, *others = (
        json.loads(source.read(f"cyclonedx/schema/_res/{name}.SNAPSHOT.schema.json"))
        for name in ("bom-1.5", "spdx", "jsf-0.82")
    )
    listed = json.loads(subprocess.run([deploy / "sbom"], check=True, stdout=subprocess.PIPE).stdout)
    store = {other["$id"]: other for other in others}
    judge("sbom", listed, schema, jsonschema.RefResolver(schema["$id"], schema, store=store))
    for part in listed["components"]:
        if "licenses" not in part or "hashes" not in part:
            fault("sbom", f"{part['name']} has no licence, or no checksum")


def main():
    {"compose": compose, "kubernetes": kubernetes, "chart": chart, "sbom": sbom}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
    print("\n".join(FAULTS))
    sys.exit(bool(FAULTS))


main()
