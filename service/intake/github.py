"""Deployments of GitHub: a webhook's `deployment` and `deployment_status`.

References
----------
https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_status and
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from rollguard.config import GithubKey
from rollguard.service.intake.mapping import FieldMap, object_of, place_of, text_within, within
from rollguard.service.intake.records import Delivery, ForeignError, ForgedError, Proven, Said, UnusableError

__all__ = ["Github"]

SIGNATURE, EVENT = "x-hub-signature-256", "x-github-event"
#: What a deployment's own payload may say of a change; it wins over what GitHub says.
OWN = (
    "deploy_id",
    "service",
    "region",
    "environment",
    "change_kind",
    "version",
    "from_version",
    "author",
    "approvals",
    "ai_assisted",
    "rollback",
)
#: Of `task`, where it names a kind.
KINDS = {"code": "code", "config": "config", "configuration": "config", "flag": "flag", "flags": "flag", "migration": "migration", "migrations": "migration"}
KINDS |= {"infra": "infra", "infrastructure": "infra", "migrate": "migration"}


class Github:
    """Takes webhooks of GitHub.

    Parameters
    ----------
    keys : mapping of str to GithubKey
    secrets : mapping of str to str
        Of each key.
    environment : str
        The one whose changes count.
    """

    name = "github"
    path = "/changes/github"

    def __init__(self, keys: Mapping[str, GithubKey], secrets: Mapping[str, str], environment: str) -> None:
        self._keys = dict(keys)
        self._secrets = {name: secrets[name].encode() for name in keys}
        self._environment = environment
        self._fields = {name: FieldMap(key.fields, f"changes.http.github.{name}.fields") for name, key in keys.items()}

    def prove(self, delivery: Delivery) -> Proven:
        """Find the key that signed it."""
        said = delivery.header(SIGNATURE).strip().removeprefix("sha256=").encode("ascii", "replace")
        # All of them, so that the time it takes tells nothing.
        right = [
            name for name, secret in self._secrets.items() if hmac.compare_digest(hmac.new(secret, delivery.body, hashlib.sha256).hexdigest().encode(), said)
        ]
        if not right:
            raise ForgedError(f"github: no signature of ours. Expected: the header {SIGNATURE}, made with the secret of the webhook")
        return Proven(key=right[0], services=self._keys[right[0]].services)

    def read(self, proven: Proven, delivery: Delivery) -> Said:
        """Read the event."""
        event = delivery.header(EVENT)
        if event == "ping":
            return Said(records=(), note="pong")
        if event not in {"deployment", "deployment_status"}:
            return Said(records=(), note=f"an event {event[:40]!r} tells of no change; expected deployment and deployment_status")
        if delivery.header("content-type").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            raise UnusableError("github: the webhook sends a form. Expected: content type application/json, in the webhook's settings")
        message = object_of(delivery.body, "github")
        found = within(message, "deployment")
        if not isinstance(found, dict):
            raise UnusableError("github: it holds no deployment. Expected: an event deployment or deployment_status")
        repository = text_within(message, "repository", "full_name") or ""
        services = self._services_of(proven.key, repository)
        status = within(message, "deployment_status") if event == "deployment_status" else None
        times = _times(message, found, status)
        if isinstance(times, str):
            return Said(records=(), note=times)
        return Said(records=self._fields[proven.key].records(message, self._usual(message, found, repository) | times), services=services)

    def _services_of(self, key: str, repository: str) -> tuple[str, ...] | None:
        """What a repository may speak for; None: all that the key may."""
        repositories = self._keys[key].repositories
        if not repositories:
            return None
        services = tuple(each for pattern, allowed in sorted(repositories.items()) if fnmatchcase(repository, pattern) for each in allowed)
        if not services:
            raise ForeignError(f"github: the repository {repository[:100]!r} may speak for no service. Expected: one of changes.http.github.{key}.repositories")
        return services

    def _usual(self, message: Mapping[str, Any], found: Mapping[str, Any], repository: str) -> dict[str, Any]:
        """A change's fields, as they are without the config's expressions."""
        own = _payload(found)
        environment, region = place_of(text_within(found, "environment") or "", self._environment)
        service = text_within(own, "service") or text_within(message, "repository", "name")
        usual = {
            "deploy_id": f"github/{repository}/{_run_of(message, found)}/{service}",
            "service": service,
            "region": region,
            "environment": environment,
            "change_kind": next((KINDS[word] for word in (text_within(found, "task") or "").lower().replace(":", "-").split("-") if word in KINDS), "code"),
            "version": text_within(found, "sha"),
            "author": _person(message, found),
        }
        return usual | {name: own[name] for name in OWN if own.get(name) is not None}


def _times(message: Mapping[str, Any], found: Mapping[str, Any], status: object) -> dict[str, Any] | str:
    """When it started, and finished; or why it tells of no change."""
    by_actions = isinstance(within(message, "workflow_run"), dict)
    created = text_within(found, "created_at")
    if status is None:
        # One of Actions may wait for hours until somebody lets it go on; its status tells when it began.
        return "a deployment of GitHub Actions starts with its status in_progress" if by_actions else {"started_at": created}
    state, at = text_within(status, "state"), text_within(status, "created_at")
    match state:
        case "in_progress" | "failure" | "error":
            # One that failed may have reached a part: it stays a suspect, and is never said to be over.
            return {"started_at": at}
        case "success":
            return {"started_at": at if by_actions else created, "finished_at": at}
        case _:
            return f"a status {(state or '')[:40]!r} changes nothing"


def _run_of(message: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What waves of one change have in common: the try of a workflow run that made them; else each deployment is a change of its own."""
    run = within(message, "workflow_run", "id")
    attempt = within(message, "workflow_run", "run_attempt")
    return f"{found.get('id')}" if not isinstance(run, int) else f"run-{run}.{attempt if isinstance(attempt, int) else 1}"


def _person(message: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Who did it; None: a program, and who let it do so nobody knows: two persons have to approve then."""
    for someone in (within(found, "creator"), within(message, "workflow_run", "triggering_actor"), within(message, "workflow_run", "actor")):
        login = text_within(someone, "login")
        if login and text_within(someone, "type") == "User" and not login.endswith("[bot]"):
            return login
    return None


def _payload(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the deployment's maker wrote into it, an object or one written as a text."""
    payload = found.get("payload")
    if isinstance(payload, str) and payload.lstrip().startswith("{"):
        try:
            payload = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            # A text of their own, which says nothing to us.
            return {}
    return payload if isinstance(payload, dict) else {}
