"""A collection of a Kubernetes API server: listed, then watched line by line from there on. Says what it read, and concludes nothing.

References
----------
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from rollguard.config import Cluster, RollguardError
from rollguard.responders.http import HttpBrokenError, call, client, json_headers
from rollguard.responders.mask import Mask

__all__ = ["ClusterError", "Collection", "GoneError", "deployments_of"]

#: Objects of one page; each may have a megabyte.
PAGE = 100
LARGEST = 64 * 1_048_576
#: The server ends a watch after so long, in seconds: also one whose connection died unheard goes on then.
WATCH_S = 120


class ClusterError(RollguardError):
    """An API server does not answer as it should."""

    code = "cluster"


class GoneError(ClusterError):
    """What happened since is forgotten there: it has to be listed again."""

    code = "cluster_gone"


def deployments_of(name: str, cluster: Cluster, secret: Callable[[], str]) -> list[Collection]:
    """Make what lists and watches the Deployments of a cluster, one for each namespace.

    Parameters
    ----------
    name : str
        Of the cluster, in the config.
    cluster : Cluster
    secret : callable
        See `Collection`.

    Raises
    ------
    ClusterError
        As for `Collection`.
    """
    paths = [f"/apis/apps/v1/namespaces/{quote(each, safe='')}/deployments" for each in cluster.namespaces] or ["/apis/apps/v1/deployments"]
    return [Collection(f"changes.kubernetes.{name}", cluster, path, secret) for path in paths]


class Collection:
    """Objects of one kind, of one namespace or all.

    Parameters
    ----------
    where : str
        What errors call it.
    cluster : Cluster
    path : str
        Of the collection, as /apis/apps/v1/deployments.
    secret : callable
        Reads the bearer token; for each request, since tokens of service accounts rotate.

    Raises
    ------
    ClusterError
        If its file of certificates is none.
    """

    def __init__(self, where: str, cluster: Cluster, path: str, secret: Callable[[], str]) -> None:
        self._where = where
        self._cluster = cluster
        self._url = cluster.url.rstrip("/") + path
        self._secret = secret
        try:
            self._session = client(timeout_ms=cluster.timeout_ms, ca_file=cluster.trusted)
        except OSError as error:
            raise ClusterError(f"{where}: ca_file: {(error.strerror or 'no certificate in it').lower()}. Expected: a file of certificates") from None

    async def listed(self) -> tuple[list[dict[str, Any]], str]:
        """List it: all objects, and the version from which to watch.

        Raises
        ------
        ClusterError
        """
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            page, version, more = await self._page(PAGE, more)
            found += page
            if not more:
                return found, version

    async def tried(self) -> None:
        """Ask for one object, and watch for a second: whether we may.

        Raises
        ------
        ClusterError
        """
        _, version, _ = await self._page(1, "")
        async for _ in self.watched(version, within_s=1):
            break

    async def _page(self, limit: int, more: str) -> tuple[list[dict[str, Any]], str, str]:
        params = self._params({"limit": str(limit)} | ({"continue": more} if more else {}))
        headers, mask = self._headers()
        try:
            answer = await call(self._session, "GET", self._url, within_ms=self._cluster.timeout_ms, headers=headers, params=params, largest=LARGEST)
        except HttpBrokenError as error:
            raise ClusterError(f"{self._where}: {error.problem}. Expected: an API server at `url`") from None
        if answer.status == 410:
            raise GoneError(f"{self._where}: the list has changed while it was read")
        if answer.status != 200:
            raise ClusterError(f"{self._where}: {answer.shown(mask)}. Expected: the right to list and watch deployments (docs/changes-in.md)")
        page = _object(answer.body, self._where)
        told = page.get("metadata") or {}
        return [each for each in page.get("items") or () if isinstance(each, dict)], str(told.get("resourceVersion") or ""), str(told.get("continue") or "")

    async def watched(self, version: str, *, within_s: int = WATCH_S) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Tell what happens after a version: kind and object, until the server ends it.

        Raises
        ------
        GoneError
            If the version is too old.
        ClusterError
        """
        params = self._params({"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": str(within_s)})
        headers, mask = self._headers()
        timeout = httpx.Timeout(self._cluster.timeout_ms / 1000, read=within_s + 30.0)
        try:
            async with self._session.stream("GET", self._url, params=params, headers=headers, timeout=timeout) as answer:
                if answer.status_code == 410:
                    raise GoneError(f"{self._where}: {version} is too old")
                if answer.status_code != 200:
                    raise ClusterError(
                        mask(f"{self._where}: answered {answer.status_code} to a watch. Expected: the right to watch deployments (docs/changes-in.md)")
                    )
                async for line in answer.aiter_lines():
                    event = _object(line.encode(), self._where)
                    kind, found = str(event.get("type")), event.get("object")
                    if kind == "ERROR" or not isinstance(found, dict):
                        gone = isinstance(found, dict) and found.get("code") == 410
                        raise (GoneError if gone else ClusterError)(mask(f"{self._where}: {str(found)[:200]}. It is listed again"))
                    yield kind, found
        except httpx.HTTPError as error:
            raise ClusterError(f"{self._where}: the watch broke off ({type(error).__name__}). It goes on from where it was") from None

    async def close(self) -> None:
        """Let go of connections."""
        await self._session.aclose()

    def _params(self, more: dict[str, str]) -> dict[str, str]:
        return more | ({} if self._cluster.selector is None else {"labelSelector": self._cluster.selector})

    def _headers(self) -> tuple[dict[str, str], Mask]:
        token = self._secret().strip()
        return json_headers({"authorization": f"Bearer {token}"}), Mask(token)


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ClusterError(f"{where}: it answered something that is no object of Kubernetes. Expected: an API server at `url`") from None
