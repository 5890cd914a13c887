"""How decisions reach the world: who is paged, what carries out a rollback, who may approve one, and what stops all of it."""

import unicodedata
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from rollguard.config.values import MINUTE_MS, SECOND_MS, LongSpan, Moment, Name, Secret, Section, Text, Url, Urls

__all__ = ["Gate", "Heartbeat", "Pager", "Person", "Planned", "Respond", "Storm", "Target", "folded"]


def folded(name: str) -> str:
    r"""Give a person's name as it is compared: neither case nor the ways of writing a letter, spaces or marks around it, make another person.

    Examples
    --------
    >>> folded(" Dana "), folded("@DANA"), folded("\uff44ana")
    ('dana', 'dana', 'dana')
    """
    return unicodedata.normalize("NFKC", name).strip().lstrip("@").casefold()


class Pager(Section):
    """Something that tells a person."""

    kind: Literal["pagerduty", "alertmanager", "slack", "webhook", "apprise", "log"]
    """What it speaks."""
    url: Urls = ()
    """Where it is reached; of Alertmanager every peer."""
    secret: Secret | None = None
    """PagerDuty: the routing key. Slack and Apprise: the whole URL, since it is a secret. Webhook: the signing secret, whsec_… Alertmanager: a bearer token."""
    webhook_secret: Secret | None = None
    """PagerDuty: of a V3 webhook subscription to /pagerduty, by which what is acknowledged there is known here; None: it is not."""
    ca_file: Text | None = None
    """Certificates of the authorities that are trusted; None: the system's."""
    labels: dict[Name, Text] = {}
    """Alertmanager: labels that its routes go by, on every alert."""
    timeout_ms: Annotated[LongSpan, Field(le=MINUTE_MS)] = Field(default=10 * SECOND_MS, alias="timeout")
    """Of one try, in milliseconds."""


class Target(Section):
    """Something that carries out a rollback. In `url`, `name`, `namespace` and the commands, {service} and {region} stand for the plan's."""

    kind: Literal["kubernetes", "argo_rollouts", "webhook", "command"]
    """What it speaks."""
    url: Url | None = None
    """Kubernetes, Argo Rollouts: the API server. Webhook: where `current` and `rollback` are."""
    secret: Secret | None = None
    """Kubernetes, Argo Rollouts: a bearer token. Webhook: the signing secret, whsec_…"""
    ca_file: Text | None = None
    """Certificates of the authorities that are trusted; None: the system's."""
    namespace: Text = "default"
    """Of the Deployment or Rollout."""
    name: Text = "{service}"
    """Of the Deployment or Rollout."""
    container: Text | None = None
    """Whose image's tag is the version; None: the first."""
    argv: tuple[Text, ...] = ()
    """Command: program and arguments, with {service}, {region}, {expected_version}, {to_version} and {intent}. No shell reads it."""
    current: tuple[Text, ...] = ()
    """Command: one that prints the version that is live."""
    cas: Literal["native", "read-then-call", "none"] | None = None
    """Whether it refuses by itself to touch a version other than the one that was judged; None: as its kind does. Only native may be automatic."""
    timeout_ms: Annotated[LongSpan, Field(le=5 * MINUTE_MS)] = Field(default=10 * SECOND_MS, alias="timeout")
    """Of one call, in milliseconds."""
    confirm_ms: LongSpan = Field(default=5 * MINUTE_MS, alias="confirm")
    """Within so many milliseconds it has to be live everywhere; after that nobody knows."""

    @property
    def compares(self) -> Literal["native", "read-then-call", "none"]:
        """How it makes sure that only what was judged is rolled back."""
        if self.cas is not None:
            return self.cas
        if self.kind == "command":
            return "read-then-call" if self.current else "none"
        return "read-then-call" if self.kind == "webhook" else "native"


class Person(Section):
    """Somebody who may acknowledge, judge and approve."""

    secret: Secret
    """Their commands are signed with it, whsec_…"""
    aliases: tuple[Text, ...] = ()
    """Names under which changes call them: an author never approves their own."""
    bot: StrictBool = False
    """A program; it may acknowledge, never approve."""


class Planned(Section):
    """A stretch of time in which something is different."""

    since_ms: Moment = Field(alias="from")
    """When it begins."""
    until_ms: Moment = Field(alias="to")
    """When it is over."""
    services: tuple[Name, ...] = ()
    """Which; none: all."""
    reason: Text
    """What is different; stands in each decision that it changed."""

    def holds(self, service: str | None, at_ms: int) -> bool:
        """Whether a service is in it at a moment."""
        return self.since_ms <= at_ms < self.until_ms and (not self.services or service in self.services)


class Storm(Section):
    """How many pages are too many."""

    pages: Annotated[StrictInt, Field(ge=1, le=1_000)] = 10
    """Incidents told one by one to a pager in `per_ms`; further ones stand together on one summary page, which counts all of them."""
    per_ms: LongSpan = Field(default=10 * MINUTE_MS, alias="per")
    """The time in which `pages` are counted, in milliseconds."""


class Heartbeat(Section):
    """Somebody outside who notices when Rollguard falls silent."""

    secret: Secret | None = None
    """The URL that is asked (POST) after each probe that has come through; None: nobody is told."""
    every_ms: LongSpan = Field(default=MINUTE_MS, alias="every")
    """How often an anomaly of our own is made, in milliseconds."""


class Gate(Section):
    """What a version needs before it goes on to the next place."""

    one_region: Annotated[StrictInt, Field(ge=0, le=5)] = 1
    """Approvals of one that reaches one region."""
    everywhere: Annotated[StrictInt, Field(ge=0, le=5)] = 2
    """Approvals of one that reaches more, or of which it is not said."""
    bake_ms: LongSpan = Field(default=10 * MINUTE_MS, alias="bake")
    """Wait, until it has been in the region before for so long; milliseconds."""
    blind_ms: LongSpan = Field(default=2 * MINUTE_MS, alias="blind")
    """Wait, while what is known is older than so many milliseconds."""


class Respond(Section):
    """Pages, rollbacks, and the friction between them."""

    pagers: dict[Name, Pager] = {}
    page: tuple[Name, ...] = ()
    """Told of every incident, unless its service names others."""
    fallback: tuple[Name, ...] = ()
    """Told when another pager has refused a page, or was away for `fallback_after_ms`."""
    fallback_after_ms: LongSpan = Field(default=2 * MINUTE_MS, alias="fallback_after")
    """How long a pager may be away before `fallback` is told, in milliseconds."""
    escalate: tuple[Name, ...] = ()
    """Told when nobody has acknowledged, or a plan waits, for `escalate_after_ms`."""
    escalate_after_ms: LongSpan = Field(default=10 * MINUTE_MS, alias="escalate_after")
    """How long nobody may have acknowledged, or a plan may wait, before `escalate` is told, in milliseconds."""
    storm: Storm = Storm()
    targets: dict[Name, Target] = {}
    target: Name | None = None
    """Carries out rollbacks of services that name none."""
    trust: Literal["earned", "granted"] = "earned"
    """Of mode `auto`: by judged incidents, or because whoever wrote this says so."""
    approvals: Annotated[StrictInt, Field(ge=1, le=2)] = 1
    """Persons who have to approve a plan."""
    plan_expires_ms: LongSpan = Field(default=15 * MINUTE_MS, alias="plan_expires")
    """A plan that is not approved by then is dropped; milliseconds."""
    people: dict[Name, Person] = {}
    link: Url | None = None
    """Where a person looks at an incident, as https://wiki.example/rollguard/{incident}; stands on each page. It opens something, it never does anything."""
    image: Url | None = None
    """A picture of an incident, as https://grafana.example/render/d/shop?var-incident={incident}; PagerDuty shows it, if it is served by HTTPS."""
    protected: tuple[Text, ...] = ("rollguard", "kafka")
    """Services that are never rolled back: Rollguard, what it runs on, what carries out its rollbacks."""
    kill_switch: Text | None = None
    """A file that says `off` as long as rollbacks may happen; one that says anything else, or cannot be read, stops them all. None: there is none."""
    freezes: tuple[Planned, ...] = ()
    """No rollback happens then, but one that two persons have approved."""
    planned: tuple[Planned, ...] = ()
    """What happens then was meant to: nobody is paged about these services, and nothing is rolled back."""
    gate: Gate = Gate()
    heartbeat: Heartbeat = Heartbeat()
