"""What pagers and targets are given, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from rollguard.config import RollguardError

__all__ = [
    "Confirmed",
    "Link",
    "MovedError",
    "Page",
    "PageError",
    "PageEvent",
    "Pager",
    "Prepared",
    "RefusedError",
    "Severity",
    "Step",
    "Target",
    "TargetError",
    "UnknownError",
]

PageEvent = Literal["trigger", "acknowledge", "resolve"]
Severity = Literal["critical", "error", "warning", "info"]
#: live: everywhere and healthy. going: under way. failed: it will not get there. unknown: it cannot be asked.
Confirmed = Literal["live", "going", "failed", "unknown"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Somewhere to go from a page. It opens something, it never does anything."""

    text: str
    href: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is told of an incident.

    Attributes
    ----------
    event : {"trigger", "acknowledge", "resolve"}
        A later "trigger" of the same key brings it up to date.
    dedup_key : str
        The incident; a receiver shows one for each key, however often it is told.
    title : str
        One line: what is hurt and where.
    lines : tuple of str
        What is hurt, what it costs a minute, who is suspected and how surely, what Rollguard will do and when, how to stop it; in this order.
    severity : Severity
    service, owner, runbook : str or None
    regions : tuple of str
    at_ms : int
        When it was decided, event time, epoch ms.
    onset_ms : int or None
    ended_ms : int or None
        Of a "resolve".
    links : tuple of Link
    image : str or None
        Address of a picture.
    details : mapping of str to any
        The same for machines; values of JSON.
    changed : str
        A change that Rollguard has made, for receivers that keep a list of changes; empty: none.
    """

    event: PageEvent
    dedup_key: str
    title: str
    lines: tuple[str, ...]
    severity: Severity
    service: str | None = None
    owner: str | None = None
    runbook: str | None = None
    regions: tuple[str, ...] = ()
    at_ms: int
    onset_ms: int | None = None
    ended_ms: int | None = None
    links: tuple[Link, ...] = ()
    image: str | None = None
    details: Mapping[str, Any] = {}
    changed: str = ""


class PageError(RollguardError):
    """A pager did not take a page.

    Parameters
    ----------
    where : str
        The pager, by its name in the config, and what it is, as `oncall (pagerduty)`; never a secret.
    problem : str
    recoverable : bool
        Whether it may be told again: after 429, 5xx and whatever broke on the way; never after another 4xx.
    after_ms : int or None
        Not before so many milliseconds have passed, where the receiver said so.
    """

    code = "page"

    def __init__(self, where: str, problem: str, *, recoverable: bool, after_ms: int | None = None) -> None:
        self.where = where
        self.problem = problem
        self.recoverable = recoverable
        self.after_ms = after_ms
        super().__init__(f"{where}: {problem}")


class Pager(Protocol):
    """Something that tells a person."""

    async def send(self, page: Page, *, message_id: str) -> str:
        """Tell; when it returns, the receiver has surely taken it.

        Parameters
        ----------
        page : Page
        message_id : str
            The same for each try of one message.

        Returns
        -------
        str
            What the receiver said, short.

        Raises
        ------
        PageError
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a plan: one service, in one place.

    Attributes
    ----------
    intent : str
        Of this call alone, the same however often it is asked about.
    service : str
    region : str or None
        None: everywhere, as one.
    expected_version : str
        The version that was judged; nothing else is touched.
    to_version : str
    incident_id : str
    reason : str
    """

    intent: str
    service: str
    region: str | None
    expected_version: str
    to_version: str
    incident_id: str
    reason: str

    def at(self, where: str) -> str:
        """What errors of a target call its place."""
        return f"{where}: {self.service} in {self.region or 'all places'}"

    def judged(self, where: str, version: str) -> None:
        """Make sure that what is live is what was judged.

        Raises
        ------
        MovedError
            If another version is.
        """
        if version != self.expected_version:
            raise MovedError(self.at(where), f"{version} is live, and {self.expected_version} was judged")

    def progress(self, version: str, now: Confirmed = "live") -> Confirmed:
        """How far it has come, by the version that is live now and, where that is the one to go back to, by what its target says."""
        if version == self.to_version:
            return now
        return "going" if version == self.expected_version else "failed"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a target will do for a step, worked out without doing anything.

    Attributes
    ----------
    step : Step
    version : str
        Live now; the one that was judged.
    what : str
        A sentence for a person.
    token : str
        What shows the target that nothing has moved since; empty: it has none.
    body : mapping of str to any
        What is needed to do it; the target's own.
    """

    step: Step
    version: str
    what: str
    token: str = ""
    body: Mapping[str, Any] = {}


class TargetError(RollguardError):
    """A target did not do what it was asked for.

    Parameters
    ----------
    where : str
        The target, service and place; never a secret.
    problem : str
    status : int or None
        Of HTTP, where it answered.
    """

    code = "target"

    def __init__(self, where: str, problem: str, *, status: int | None = None) -> None:
        self.where = where
        self.problem = problem
        self.status = status
        super().__init__(f"{where}: {problem}")


class MovedError(TargetError):
    """Another version is live than the one that was judged. Nothing was changed."""

    code = "moved"


class RefusedError(TargetError):
    """It will not or cannot be done. Surely nothing was changed."""

    code = "refused"


class UnknownError(TargetError):
    """It may have been done or not: nobody knows, and nothing is tried again."""

    code = "unknown"


class Target(Protocol):
    """Something that carries out a rollback.

    Attributes
    ----------
    cas : {"native", "read-then-call", "none"}
        Whether it refuses by itself to touch a version other than the expected one.
    """

    @property
    def cas(self) -> Literal["native", "read-then-call", "none"]: ...  # noqa: D102 - above

    async def current(self, step: Step) -> str:
        """Read the version that is live.

        Raises
        ------
        RefusedError
            If it cannot be read.
        """
        ...

    async def plan(self, step: Step) -> Prepared:
        """Work out the smallest action that does it; changes nothing.

        Raises
        ------
        MovedError, RefusedError
        """
        ...

    async def execute(self, prepared: Prepared) -> str:
        """Do it, once.

        Returns
        -------
        str
            What the target said, short.

        Raises
        ------
        MovedError, RefusedError, UnknownError
        """
        ...

    async def confirm(self, step: Step) -> Confirmed:
        """Ask how far it has come; never raises a `TargetError`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
