"""What Deployments and Rollouts have in common: objects of a Kubernetes API that hold a template of pods, and the ReplicaSets of earlier ones.

A version is the tag (or the digest) of a container's image. What is patched carries the `resourceVersion` that was read, so that the API server itself
refuses (409) to touch what has moved since.

References
----------
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import msgspec

from rollguard.config import RollguardError
from rollguard.config import Target as TargetConfig
from rollguard.responders.http import HttpAnswer, HttpBrokenError, call, client, json_headers
from rollguard.responders.mask import Mask
from rollguard.responders.records import Confirmed, MovedError, Prepared, RefusedError, Step, UnknownError

__all__ = ["Cluster", "Kept", "image_version"]

#: A status is written all the time, which moves the object and not its template: so often the same is tried on what was read anew.
TRIES = 5


class Kept(msgspec.Struct, frozen=True):
    """Names of a kind of object.

    Attributes
    ----------
    api : str
        Group and version, as apps/v1.
    plural : str
    revision : str
        Annotation of a ReplicaSet that counts the templates there have been.
    hash_label : str
        Label that a controller adds to the template of a ReplicaSet.
    parts : tuple of (str, str)
        Verbs on parts of the object that a rollback takes besides.
    """

    api: str
    plural: str
    revision: str
    hash_label: str
    parts: tuple[tuple[str, str], ...] = ()


class Cluster:
    """Reads and patches one kind of object; a kind of target says which, what it does and how far that has come.

    Parameters
    ----------
    where : str
        What errors call it.
    target : rollguard.config.Target
    secret : callable
        Reads the bearer token; for each call, since tokens of service accounts rotate.

    Raises
    ------
    RollguardError
        If it can never work.
    """

    kept: ClassVar[Kept]

    def __init__(self, where: str, target: TargetConfig, secret: Callable[[], str]) -> None:
        self.where = where
        self.target = target
        self._secret = secret
        self._mask = Mask(secret())
        self.cas: Literal["native", "read-then-call", "none"] = target.compares
        try:
            self._session = client(timeout_ms=target.timeout_ms, ca_file=target.ca_file)
        except OSError as error:
            raise RefusedError(where, f"ca_file: {(error.strerror or 'no certificate in it').lower()}") from None

    async def current(self, step: Step) -> str:
        """Read the version that is asked for."""
        return self.version_of(step, await self.read(step))

    async def confirm(self, step: Step) -> Confirmed:
        """Ask whether every replica is of the version and well."""
        try:
            found = await self.read(step)
        except RefusedError:
            return "unknown"
        return step.progress(self.version_of(step, found), self.progress(found))

    @staticmethod
    def progress(found: Mapping[str, Any]) -> Confirmed:
        """How far an object of the right version has come."""
        raise NotImplementedError

    async def read(self, step: Step) -> dict[str, Any]:
        """Read the object of a step.

        Raises
        ------
        RefusedError
            If it cannot be read, or holds no such container.
        """
        found = await self._get(step, self.object_path(step))
        self.version_of(step, found)
        return found

    def version_of(self, step: Step, found: Mapping[str, Any]) -> str:
        """The version that an object, or a ReplicaSet, asks for."""
        containers = _within(found, "spec", "template", "spec").get("containers") or []
        wanted = self.target.container
        image = next((each["image"] for each in containers if wanted is None or each.get("name") == wanted), None)
        if image is None:
            raise RefusedError(self.at(step), f"it has no container {wanted or ''}".rstrip() + ". Expected: `container` names one of its template")
        return image_version(str(image))

    async def prepare(self, step: Step, found: dict[str, Any], what: str) -> Prepared:
        """Find the template of the version to go back to among the ReplicaSets that are kept.

        Raises
        ------
        MovedError, RefusedError
        """
        version = self.version_of(step, found)
        step.judged(self.where, version)
        template = await self._template(step, found)
        return Prepared(
            step=step,
            version=version,
            what=what,
            token=found["metadata"]["resourceVersion"],
            body={"generation": found["metadata"].get("generation"), "template": template},
        )

    async def put_back(self, prepared: Prepared, token: str) -> str:
        """Write the template, if nothing but the status has moved since.

        Raises
        ------
        MovedError, RefusedError, UnknownError
        """
        step = prepared.step
        for _ in range(TRIES):
            patch = [
                {"op": "replace", "path": "/metadata/resourceVersion", "value": token},
                {"op": "replace", "path": "/spec/template", "value": prepared.body["template"]},
            ]
            answer = await self.patch(step, self.object_path(step), patch, "application/json-patch+json")
            if answer.status == 200:
                self._has(step, answer)
                return f"{self.kept.plural} {self._named(step, self.target.name)}: template of {step.to_version}"
            # 409: surely not done, since something was written in between; a status, or a template.
            found = await self.read(step)
            if found["metadata"].get("generation") != prepared.body["generation"]:
                break
            token = found["metadata"]["resourceVersion"]
        raise MovedError(self.at(step), "it was changed after it was judged")

    async def patch(self, step: Step, path: str, body: Any, form: str) -> HttpAnswer:
        """Patch; the answer is 200 or 409.

        Raises
        ------
        RefusedError, UnknownError
        """
        headers = {**self._headers(step), "content-type": form}
        try:
            answer = await call(self._session, "PATCH", path, within_ms=self.target.timeout_ms, body=msgspec.json.encode(body), headers=headers)
            problem, sent = "", True
        except HttpBrokenError as error:
            answer, problem, sent = HttpAnswer(0, {}, b""), error.problem, error.sent
        if problem:
            raise (UnknownError if sent else RefusedError)(self.at(step), problem)
        if answer.status not in {200, 409}:
            surely_not = 400 <= answer.status < 500
            raise (RefusedError if surely_not else UnknownError)(self.at(step), self._said(answer))
        return answer

    def _has(self, step: Step, answer: HttpAnswer) -> None:
        """Believe nothing but the object itself, with the version that was wanted."""
        try:
            version = self.version_of(step, msgspec.json.decode(answer.body, type=dict))
        except (msgspec.DecodeError, RefusedError):
            raise UnknownError(self.at(step), f"{self._said(answer)}, which is not what was patched") from None
        if version != step.to_version:
            raise UnknownError(self.at(step), f"it took the patch and has {version}, where {step.to_version} was wanted")

    def object_path(self, step: Step, *rest: str) -> str:
        """Where the object of a step is; with `status`, where its status alone is written."""
        return self._path(step, self.kept.api, self.kept.plural, self._named(step, self.target.name), *rest)

    def at(self, step: Step) -> str:
        """What errors call a step's place."""
        return step.at(self.where)

    async def lacking(self, step: Step) -> list[str]:
        """Ask the API server which of the rights that a rollback takes we do not have, as `kubectl auth can-i` does; changes nothing.

        Returns
        -------
        list of str
            As `patch deployments`; empty: all are there.

        Raises
        ------
        RefusedError
            If it cannot be asked, or does not know us.
        """
        group = self.kept.api.partition("/")[0]
        needed = [(verb, group, self.kept.plural, "") for verb in ("get", "patch")]
        needed += [(verb, group, self.kept.plural, part) for verb, part in self.kept.parts]
        found: list[str] = []
        for verb, api, plural, part in [*needed, ("list", "apps", "replicasets", "")]:
            asked = {"namespace": self._named(step, self.target.namespace), "verb": verb, "group": api, "resource": plural, "subresource": part}
            if not await self._may(step, asked):
                found.append(f"{verb} {plural}{'/' if part else ''}{part}")
        return found

    async def _may(self, step: Step, asked: Mapping[str, str]) -> bool:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        url = f"{self._base(step)}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status: int | None = None
        try:
            answer = await call(self._session, "POST", url, within_ms=self.target.timeout_ms, headers=self._headers(step), body=msgspec.json.encode(review))
            status, problem = answer.status, "" if answer.status == 201 else self._said(answer)
            allowed = msgspec.json.decode(answer.body)["status"]["allowed"] if answer.status == 201 else None
        except HttpBrokenError as error:
            allowed, problem = None, error.problem
        except (msgspec.DecodeError, KeyError, TypeError):
            allowed, problem = None, "it answered something that is no review of Kubernetes"
        if not isinstance(allowed, bool):
            raise RefusedError(self.at(step), f"it cannot be asked: {problem}", status=status)
        return allowed

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.aclose()

    async def _template(self, step: Step, found: Mapping[str, Any]) -> dict[str, Any]:
        """The newest template of the version to go back to."""
        own = found["metadata"]["uid"]
        labels = _within(found, "spec", "selector").get("matchLabels") or {}
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        listed = await self._get(step, self._path(step, "apps/v1", "replicasets"), {"labelSelector": selector, "limit": "500"})
        sets = [each for each in listed.get("items") or [] if any(owner.get("uid") == own for owner in _within(each, "metadata").get("ownerReferences") or [])]
        fitting = [each for each in sets if self.version_of(step, each) == step.to_version]
        if not fitting:
            known = ", ".join(sorted({self.version_of(step, each) for each in sets})) or "none"
            raise RefusedError(
                self.at(step), f"it keeps no ReplicaSet of {step.to_version} (those that are kept: {known}). Expected: a greater `revisionHistoryLimit`"
            )
        template: dict[str, Any] = max(fitting, key=self._revision)["spec"]["template"]
        (_within(template, "metadata").get("labels") or {}).pop(self.kept.hash_label, None)
        return template

    def _revision(self, replicas: Mapping[str, Any]) -> int:
        said = (_within(replicas, "metadata").get("annotations") or {}).get(self.kept.revision, "0")
        return int(said) if said.isascii() and said.isdigit() else 0

    async def _get(self, step: Step, url: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        status: int | None = None
        try:
            answer = await call(self._session, "GET", url, within_ms=self.target.timeout_ms, headers=self._headers(step), params=params)
            status = answer.status
            problem = "" if answer.status == 200 else self._said(answer)
            found = msgspec.json.decode(answer.body) if answer.status == 200 else None
        except HttpBrokenError as error:
            found, problem = None, error.problem
        except msgspec.DecodeError:
            found, problem = None, "it answered something that is no object of Kubernetes"
        if not isinstance(found, dict):
            raise RefusedError(self.at(step), f"it cannot be read: {problem}", status=status)
        return found

    def _headers(self, step: Step) -> dict[str, str]:
        try:
            token = self._secret()
        except RollguardError as error:
            raise RefusedError(self.at(step), str(error)) from None
        self._mask = Mask(token)
        return json_headers({"authorization": f"Bearer {token}"})

    def _said(self, answer: HttpAnswer) -> str:
        """What the API server says, which has a sentence of its own for it; without the token, which a server may say back."""
        try:
            message = msgspec.json.decode(answer.body).get("message")
        except (msgspec.DecodeError, AttributeError):
            message = None
        return self._mask(f"answered {answer.status}: {message}") if message else answer.shown(self._mask)

    def _path(self, step: Step, api: str, plural: str, *rest: str) -> str:
        names = ("apis", *api.split("/"), "namespaces", self._named(step, self.target.namespace), plural, *rest)
        return f"{self._base(step)}/{'/'.join(quote(name, safe='') for name in names)}"

    def _base(self, step: Step) -> str:
        """The API server of a step."""
        return (self.target.url or "").replace("{service}", quote(step.service, safe="")).replace("{region}", quote(step.region or "", safe="")).rstrip("/")

    @staticmethod
    def _named(step: Step, text: str) -> str:
        return text.replace("{service}", step.service).replace("{region}", step.region or "")


def image_version(image: str) -> str:
    """The version that an image's name says: its digest, or its tag.

    Examples
    --------
    >>> image_version("shop.example:5000/checkout:4.11.0"), image_version("checkout:4@sha256:0b31"), image_version("shop.example:5000/checkout")
    ('4.11.0', 'sha256:0b31', 'latest')
    """
    name, _, digest = image.partition("@")
    return digest or name.rpartition("/")[2].partition(":")[2] or "latest"


def _within(found: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = found.get(name) or {}
    return found
