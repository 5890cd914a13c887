"""A real API server of Kubernetes with the controllers of Deployments and ReplicaSets, on etcd; no nodes, so no pod ever runs.

`.ci/kubernetes` builds both programs once, `apt-get install etcd-server` has the third. Where one is missing, a test that wants them skips with the
reason; with ROLLGUARD_SERVERS=all it fails.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM
from threading import Event
from typing import Any

import httpx
import msgspec
import pytest
from port_for import get_port

__all__ = ["Cluster", "cluster"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollguard" / "kubernetes"
START_S = 60.0
ADMIN, ROLLGUARD, READER, WATCHER = "admin-token", "rollguard-token", "reader-token", "watcher-token"
RIGHTS: Mapping[str, list[dict[str, list[str]]]] = {
    "rollguard": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
        {"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["get", "patch"]},
        {"apiGroups": ["argoproj.io"], "resources": ["rollouts/status"], "verbs": ["patch"]},
    ],
    # docs/changes-in.md shows the same.
    "watcher": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]}],
    "reader": [{"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list"]}],
}
#: The form of a Rollout, as loose as the tests need; its names and its status subresource are Argo's.
ROLLOUTS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "listKind": "RolloutList"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class Cluster:
    """A running API server."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self.url = url
        self.ca_file = ca_file
        self._session = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, verify=ssl.create_default_context(cafile=str(ca_file)), trust_env=False
        )

    def ask(self, method: str, path: str, body: Any = None, form: str = "application/json") -> Any:
        """Ask as an administrator; what it answers."""
        answer = self._session.request(method, path, json=body, headers={"content-type": form}) if body is not None else self._session.request(method, path)
        answer.raise_for_status()
        return answer.json()

    def until(self, path: str, holds: Any) -> Any:
        """Wait until something is so of an object, and give it back."""
        until, pause = time.monotonic() + START_S, Event()
        while not holds(found := self.ask("GET", path)):
            assert time.monotonic() < until, found
            pause.wait(0.1)
        return found

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()


def missing() -> str:
    """What is not installed; empty: nothing."""
    if shutil.which("etcd") is None or shutil.which("openssl") is None:
        return "no etcd or no openssl: `apt-get install etcd-server openssl`"
    lacking = [name for name in ("kube-apiserver", "kube-controller-manager") if not os.access(CACHE / name, os.X_OK)]
    return f"no {' and no '.join(lacking)}: `.ci/kubernetes` builds them" if lacking else ""


def _certificate(where: Path) -> None:
    """Write a key and a certificate of 127.0.0.1 that is its own authority."""
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key")
    words = ["openssl", "req", "-x509", *key, "-out", "tls.crt", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, cwd=where, capture_output=True, check=True)


@contextmanager
def running(where: Path) -> Iterator[Cluster]:
    """A cluster whose files are in `where`."""
    store, peers, port = get_port(None), get_port(None), get_port(None)
    _certificate(where)
    (where / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{ROLLGUARD},rollguard,2\n{READER},reader,3\n{WATCHER},watcher,4\n', encoding="utf-8")
    url = f"https://127.0.0.1:{port}"
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority": str(where / "tls.crt")}}],
        "users": [{"name": "admin", "user": {"token": ADMIN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
    }
    (where / "kubeconfig").write_bytes(msgspec.json.encode(kubeconfig))
    etcd = [
        "etcd",
        f"--data-dir={where / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{store}",
        f"--advertise-client-urls=http://127.0.0.1:{store}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
    ]
    server = [
        str(CACHE / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={where / 'tls.crt'}",
        f"--tls-private-key-file={where / 'tls.key'}",
        f"--service-account-key-file={where / 'tls.key'}",
        f"--service-account-signing-key-file={where / 'tls.key'}",
        "--service-account-issuer=https://127.0.0.1",
        f"--token-auth-file={where / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]
    manager = [
        str(CACHE / "kube-controller-manager"),
        f"--kubeconfig={where / 'kubeconfig'}",
        "--controllers=deployment,replicaset",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={get_port(None)}",
        f"--cert-dir={where}",
    ]
    with ExitStack() as stack:
        for name, words in (("etcd", etcd), ("apiserver", server)):
            stack.enter_context(_process(words, where / f"{name}.log"))
        found = Cluster(url, where / "tls.crt")
        stack.callback(found.close)
        _wait(found, where)
        stack.enter_context(_process(manager, where / "manager.log"))
        found.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ROLLOUTS)
        for name, rules in RIGHTS.items():
            rbac = "/apis/rbac.authorization.k8s.io/v1"
            found.ask(
                "POST",
                f"{rbac}/clusterroles",
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
            )
            bound = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
            }
            found.ask("POST", f"{rbac}/clusterrolebindings", bound)
        found.until("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts.argoproj.io", _established)
        yield found


def _established(found: Any) -> bool:
    return any(each["type"] == "Established" and each["status"] == "True" for each in found.get("status", {}).get("conditions", []))


@contextmanager
def _process(words: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            yield
        finally:
            process.send_signal(SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(found: Cluster, where: Path) -> None:
    until, pause = time.monotonic() + START_S, Event()
    while True:
        try:
            found.ask("GET", "/apis/apps/v1")
            found.ask("GET", "/api/v1/namespaces/default")
            # What everybody may who has a name, as to ask what they may: it is made some time after the server answers.
            found.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:basic-user")
        except httpx.HTTPError:
            if time.monotonic() > until:
                text = (where / "apiserver.log").read_text(errors="replace")
                raise RuntimeError(f"the API server does not answer:\n{text[-2000:]}") from None
            pause.wait(0.1)
        else:
            return


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster."""
    if reason := missing():
        if os.environ.get("ROLLGUARD_SERVERS") == "all":
            pytest.fail(reason)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found
