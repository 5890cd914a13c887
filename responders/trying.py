"""Whether a pager and a target could do their work now: reached, let in, allowed. Pages nobody and rolls nothing back."""

from __future__ import annotations

import os
import shutil
from urllib.parse import urlsplit

import httpx
import msgspec

from rollguard.config import Pager as PagerConfig
from rollguard.config import Target as TargetConfig
from rollguard.responders.http import HttpAnswer, HttpBrokenError, call, client, json_headers
from rollguard.responders.records import PageError, RefusedError, Step, Target
from rollguard.responders.targets.cluster import Cluster
from rollguard.responders.targets.webhook import WebhookTarget

__all__ = ["try_pager", "try_target"]

_PAGERDUTY = "https://events.pagerduty.com"
#: What is asked about where the config names no service; nobody has one of this name.
NOBODY = "rollguard-check"
_NOT_LET_IN = frozenset({401, 403})


async def try_pager(name: str, pager: PagerConfig, secret: str | None) -> str:
    """Reach a pager without telling it anything: Alertmanager is asked how it is; of the others whoever answers at their address.

    Parameters
    ----------
    name : str
    pager : rollguard.config.Pager
        One that `make_pager` has made something of.
    secret : str or None
        The secret itself; never told.

    Returns
    -------
    str
        What was found, in words.

    Raises
    ------
    PageError
        If it cannot be reached, or is another thing.
    """
    where = f"{name} ({pager.kind})"
    if pager.kind in {"log", "apprise"}:
        return "is not tried" if pager.kind == "apprise" else "is here"
    urls = pager.url or ((secret or "",) if pager.kind == "slack" else (_PAGERDUTY,))
    session = client(timeout_ms=pager.timeout_ms, ca_file=pager.ca_file)
    try:
        for url in urls:
            await _reach(session, where, pager, url, secret)
    finally:
        await session.aclose()
    return "reached" if len(urls) == 1 else f"all {len(urls)} peers reached"


async def _reach(session: httpx.AsyncClient, where: str, pager: PagerConfig, url: str, secret: str | None) -> None:
    """Ask one address; of a URL that is a secret nothing but its host is told."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    alertmanager = pager.kind == "alertmanager"
    asked = f"{url.rstrip('/').removesuffix('/api/v2/alerts')}/api/v2/status" if alertmanager else f"{origin}/"
    headers = {"authorization": f"Bearer {secret}"} if alertmanager and secret else {}
    problem = ""
    try:
        answer = await call(session, "GET", asked, within_ms=pager.timeout_ms, headers=json_headers(headers))
    except HttpBrokenError as error:
        answer, problem = HttpAnswer(0, {}, b""), error.problem
    if problem:
        # Outside of the handler: what was caught holds the address.
        raise PageError(where, f"{origin} {problem}", recoverable=True)
    if alertmanager and answer.status in _NOT_LET_IN:
        raise PageError(where, f"{origin} answered {answer.status}: it does not let us in. Expected: a `secret` that it knows", recoverable=False)
    if alertmanager and (answer.status != 200 or not _is_status(answer.body)):
        advice = "Expected: the address of one, up to /api/v2"
        raise PageError(where, f"{origin} answered {answer.status}, and is no Alertmanager. {advice}", recoverable=False)


def _is_status(body: bytes) -> bool:
    try:
        return "versionInfo" in msgspec.json.decode(body, type=dict)
    except msgspec.DecodeError:
        return False


async def try_target(target: Target, config: TargetConfig, services: tuple[str, ...], region: str | None) -> str:
    """Ask a target what it would need to roll back: who is live, whether we are let in, whether it would be allowed.

    Parameters
    ----------
    target : Target
    config : rollguard.config.Target
        What it was made of.
    services : tuple of str
        That it is to roll back; empty: the config names none.
    region : str or None
        A place to ask about, where its address holds one.

    Returns
    -------
    str
        What was found, in words.

    Raises
    ------
    RefusedError
        Says what would keep a rollback from being done.
    """
    if config.kind == "command":
        return _programs(config)
    for service in services or (NOBODY,):
        step = Step(intent="check", service=service, region=region, expected_version="", to_version="", incident_id="check", reason="check")
        if isinstance(target, Cluster) and (lacking := await target.lacking(step)):
            advice = "Expected: a Role with these verbs, bound to our account"
            raise RefusedError(step.at(target.where), f"we may not {', '.join(lacking)} in namespace {config.namespace}. {advice}")
        try:
            await target.current(step)
        except RefusedError as error:
            answered = error.status is not None and error.status not in _NOT_LET_IN
            if services or not answered:
                hint = ". Expected: that it takes our signature; hold `secret` against the one it has" if _refuses_us(target, error) else ""
                raise RefusedError(error.where, f"{error.problem}{hint}", status=error.status) from None
    return f"{', '.join(services)} can be read" if services else "reached"


def _refuses_us(target: Target, error: RefusedError) -> bool:
    return isinstance(target, WebhookTarget) and error.status in _NOT_LET_IN


def _programs(config: TargetConfig) -> str:
    """Look for the programs of a command; none is run."""
    for key, words in (("argv", config.argv), ("current", config.current)):
        if words and (shutil.which(words[0]) is None or not os.access(shutil.which(words[0]) or "", os.X_OK)):
            raise RefusedError(f"{key}: {words[0]}", "there is no such program, or it may not be run. Expected: a program on the PATH, or its whole path")
    return "its programs are there"
