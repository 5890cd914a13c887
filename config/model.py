"""What an operator can set: names, types, bounds and defaults. How keys depend on one another stands in `consistency`."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from rollguard.config.errors import near_match, shown
from rollguard.config.intake import Cluster, Intake
from rollguard.config.paths import EXPECTED as A_PATH
from rollguard.config.paths import wrong_path
from rollguard.config.response import Respond
from rollguard.config.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    Addresses,
    BucketSpan,
    Database,
    Holidays,
    Kind,
    LongSpan,
    Moment,
    Name,
    Real,
    RiverModel,
    Secret,
    Section,
    Span,
    Text,
    TextSet,
    Topic,
    Url,
    Values,
    Worse,
    Zone,
    refuse,
    says_something,
)


class Mode(StrEnum):
    """How far Rollguard may go for a service; each includes those before it."""

    OBSERVE = "observe"
    ADVISE = "advise"
    APPROVE = "approve"
    AUTO = "auto"


class Budget(Section):
    """How many false pages the operator will bear, for the whole fleet."""

    false_pages: Annotated[Real, Field(gt=0)] = 1.0
    """Pages without a cause in `per_ms`, > 0."""
    per_ms: LongSpan = Field(default=30 * DAY_MS, alias="per")
    """The time in which `false_pages` are counted, in milliseconds; the thresholds follow from both."""
    per_change: Annotated[Real, Field(gt=0, lt=1)] = 0.001
    """Chance, at most, that a change which did no harm is ever paged about."""


class Baseline(Section):
    """How long the memory of what is usual is. A change is seen only if it is sure before it has become usual: `rollguard check` says where not."""

    half_life_ms: LongSpan = Field(default=4 * HOUR_MS, alias="half_life")
    """Half-life of the level of a series, in milliseconds, > 0."""
    lag_ms: Span = Field(default=45 * MINUTE_MS, alias="lag")
    """The level stays so far behind the buckets under test, in milliseconds, >= 0."""
    freeze_ms: LongSpan = Field(default=12 * HOUR_MS, alias="freeze")
    """A series under suspicion keeps its level for so long at most, in milliseconds, > 0."""
    slow_half_life_ms: LongSpan = Field(default=3 * DAY_MS, alias="slow_half_life")
    """Half-life of the level of the slow watch, on buckets of an hour, in milliseconds, > 0."""
    slow_share: Annotated[Real, Field(ge=0, le=0.9)] = 0.25
    """Share of the budget of false pages that the slow watch may use, 0..0.9; 0: there is none."""


class Place(Section):
    """What is special about a place: the same hour is not the same time of day everywhere."""

    LABEL: ClassVar[str] = "region"
    """The label whose values are places."""
    time_zone: Zone = "UTC"
    """IANA name."""
    holidays: Holidays | None = None
    """Country, or country and subdivision, whose public holidays count as Sundays; None: no day does."""


class Labels(Section):
    """Which fields of events split a metric."""

    OTHER: ClassVar[str] = "__other__"
    """The label value into which the values beyond `max_values` fold."""
    watched: tuple[Name, ...] = ("service", "region")
    """Each value of these makes a series of its own."""
    compare: tuple[Name, ...] = ("version",)
    """These only split a series, for version against version."""
    max_values: Annotated[StrictInt, Field(ge=1, le=10_000)] = 200
    """Values of a watched label that a metric keeps; the rest folds into `__other__`."""
    keep: dict[Name, TextSet] = {}
    """Values that are kept whatever comes, by watched label."""


class FieldPath(Section):
    """Where a field stands in an event, if not at its top."""

    path: str
    """A JMESPath expression, as `order.shop.service`."""

    def __str__(self) -> str:
        return self.path


def _read_field(value: object) -> str | FieldPath:
    """Read what an operator calls a field: a name is the key of that name at the top of the event, dots and all."""
    expected = f"its name in the events, or {{path: {A_PATH}}}"
    if isinstance(value, FieldPath):
        return value
    if isinstance(value, str):
        return says_something(value)
    if not isinstance(value, dict):
        raise refuse(f"{shown(value)} names no field", expected)
    for key in value:
        if key != "path":
            raise refuse(f"{shown(key)} is no key here", expected, near_match(str(key), ["path"]))
    path = value.get("path")
    if not isinstance(path, str):
        raise refuse(f"{shown(path)} is no path" if "path" in value else "an empty mapping names no field", expected)
    wrong = wrong_path(says_something(path))
    if wrong is not None:
        raise refuse(*wrong)
    return FieldPath(path=path)


FieldName = Annotated[StrictStr | FieldPath, BeforeValidator(_read_field)]
Epoch = Literal["ms", "s", "us", "ns"]
Where = dict[Name, Values]


class Points(Section):
    """A source whose records each stand for many events, counted elsewhere over spans of one length."""

    every_ms: LongSpan = Field(alias="every")
    """Length of the span that a record counts, in milliseconds, > 0; the bucket is a whole multiple of it."""
    weight: Name
    """Our name of the field that says how many events a record stands for: a whole number, >= 0."""
    stamp: Literal["start", "end"] = "start"
    """Which end of its span the field `ts` names."""


class Source(Section):
    """A topic and how to read it."""

    topic: Topic
    format: Literal["json"] = "json"
    lateness_ms: Span = Field(default=20 * SECOND_MS, alias="lateness")
    """How far the watermark stays behind the events, in milliseconds, >= 0."""
    idle_ms: LongSpan = Field(default=MINUTE_MS, alias="idle")
    """After so long without an event a partition holds nothing back, in milliseconds, > 0."""
    ahead_ms: Span = Field(default=10 * MINUTE_MS, alias="ahead")
    """How far an event may stand in the future, in milliseconds, >= 0."""
    max_bytes: Annotated[StrictInt, Field(ge=64, le=16_777_216)] = 65_536
    """Longest event, in bytes."""
    epoch: Epoch = "ms"
    """Unit of a whole number in the field `ts`, since 1970; RFC 3339 may stand there whatever it is."""
    where: Where = {}
    """Only records whose field, by our name, has one of these values belong to the source."""
    points: Points | None = None
    """What a record counts; None: each is one event."""
    fields: dict[Name, FieldName]
    """Our name of a field to theirs: a key at the top of the event, or a path; `ts` always, `id` to drop doubles, each label, each measured field."""


class Model(Section):
    """A model of river's that watches a metric."""

    name: RiverModel
    """As `river.anomaly.GaussianScorer`."""
    arguments: dict[str, Any] = {}
    """Of its constructor: scalars, lists, and models as {name, arguments} of their own."""


class Metric(Section):
    """What is measured from sources."""

    kind: Kind
    """Count: events; sum: what a field adds up to; ratio: the events of one source among those of two; distribution: the shape of a field."""
    source: Name
    """The source whose events are counted, or whose field is measured."""
    field: Name | None = None
    """What a sum or a distribution measures, by our name."""
    against: Name | None = None
    """Source of a ratio's other trials: the ratio is k / (k + n), k events of `source`, n of `against`."""
    on: tuple[Name, ...] = ("region",)
    """Watched labels on which the two sources of a ratio are joined."""
    worse: Worse
    """The direction that hurts."""
    smallest: Annotated[Real, Field(gt=0, le=100)] = 0.10
    """Smallest relative change worth a page, > 0; 0.10 is a tenth."""
    where: Where = {}
    """Only events of `source` whose field has one of these values."""
    watch: StrictBool = True
    """False: recorded and shown, never a reason to page."""
    scale: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 100
    """Sums are kept in units of 1 / scale."""
    model: Model | None = None
    """A model of river's that watches besides; not for a distribution."""


class Changes(Section):
    """Where changes come from."""

    source: Name = "deploys"
    """In a case, the file of that name."""
    topic: Topic = "deploys"
    secret: Secret | None = None
    """What each record is signed with, whsec_…; one that is not is refused. None: whoever may write the topic is believed."""
    quiet_ms: LongSpan | None = Field(default=None, alias="quiet")
    """After so long without a change the feed counts as broken, in milliseconds; None: it may be quiet for ever."""
    http: Intake = Intake()
    """Webhooks that are written to the topic."""
    kubernetes: dict[Name, Cluster] = {}
    """Clusters whose Deployments are watched, by name; what changes there is written to the topic."""

    @property
    def is_written(self) -> bool:
        """Whether the worker itself writes the topic, for those who tell it of changes."""
        return self.http.is_on or bool(self.kubernetes)


class Service(Section):
    """What is set for one service alone."""

    mode: Mode | None = None
    """How far Rollguard may go for it; None: as `mode` above says."""
    owner: Text | None = None
    """Who looks after it, as people call them; stands on its pages."""
    runbook: Url | None = None
    """Where it is written what to do."""
    page: tuple[Name, ...] | None = None
    """Pagers that are told; None: those of `respond.page`."""
    escalate: tuple[Name, ...] | None = None
    """Pagers that are told when nobody acknowledges; None: those of `respond.escalate`."""
    target: Name | None = None
    """Carries out its rollbacks; None: `respond.target`."""
    approvals: Annotated[StrictInt, Field(ge=1, le=2)] | None = None
    """Persons who have to approve a plan; None: as `respond.approvals` says."""


class ServiceRules(NamedTuple):
    """What holds for a service, see `Settings.service`; as `Service`, and nothing left out."""

    mode: Mode
    owner: str | None
    runbook: str | None
    page: tuple[str, ...]
    escalate: tuple[str, ...]
    target: str | None
    approvals: int


class Calibration(Section):
    """How what the evidence says becomes a probability that means what it says; fitted by `bench/calibration.py`."""

    power: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """Of the likelihoods: below one, they count for less than they say."""
    lapse: Annotated[Real, Field(ge=0, lt=1)] = 0.03
    """Share of incidents that the model of evidence knows nothing of: there each suspect is as likely as before anything was seen."""


class Policy(Section):
    """When a rollback may happen."""

    guilty: Annotated[Real, Field(gt=0, le=1)] = 0.8
    """Probability from which a suspect is guilty, 0..1."""
    lead: Annotated[Real, Field(ge=0, le=1)] = 0.5
    """How far the first suspect must lead the second, 0..1."""
    cool_down_ms: Span = Field(default=30 * MINUTE_MS, alias="cool_down")
    """Milliseconds between two rollbacks of one service."""
    max_rollbacks: Annotated[StrictInt, Field(ge=0, le=1_000)] = 3
    """Automatic rollbacks in `max_rollbacks_per_ms`, over all services."""
    max_rollbacks_per_ms: LongSpan = Field(default=DAY_MS, alias="max_rollbacks_per")
    """The time in which `max_rollbacks` are counted, in milliseconds."""
    known_good_ms: Span = Field(default=HOUR_MS, alias="known_good")
    """A version is known good after so many milliseconds live without an incident."""


class Accept(Section):
    """A new level that an operator calls normal."""

    metric: Name
    """The metric whose level it is."""
    labels: dict[Name, Text] = {}
    """Which series: none for all together, one watched label for its value alone, or all of them."""
    at_ms: Moment = Field(alias="at")
    """From then on the level that the series has is its normal; epoch ms."""


class MoneyClock(Section):
    """What an incident costs."""

    metric: Name = "orders"
    """A metric of kind count; what is lost of it is the cost."""


class SslContext(Section):
    """What `aiokafka.helpers.create_ssl_context` is given."""

    cafile: Text | None = None
    """Certificates of the authorities that are trusted; None: the system's."""
    certfile: Text | None = None
    """The client's own certificate."""
    keyfile: Text | None = None
    """Its key."""
    password: Secret | None = None
    """Of the key."""


class Kafka(Section):
    """How to reach the brokers. Keys that aiokafka has too are named, and mean, as there."""

    bootstrap_servers: Addresses = ("127.0.0.1:9092",)
    client_id: Text = "rollguard"
    """What the brokers' logs and quotas call this client."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_plain_username: Text | None = None
    """Who logs in, with PLAIN and SCRAM."""
    sasl_plain_password: Secret | None = None
    sasl_kerberos_service_name: Text = "kafka"
    """The brokers' name in Kerberos, with GSSAPI."""
    sasl_kerberos_domain_name: Text | None = None
    """Their host in Kerberos, where it is another than that of the address."""
    ssl_context: SslContext = SslContext()
    group: Topic = "rollguard"
    """Consumer groups begin with it: one name for each Rollguard that reads the same topics."""
    prefix: Topic = "rollguard"
    """Our own topics begin with it, as `rollguard.blocks`."""
    replication_factor: Annotated[StrictInt, Field(ge=1, le=100)] | None = None
    """Of our own topics when they are created; None: what the brokers say."""
    session_timeout_ms: Annotated[Span, Field(ge=6 * SECOND_MS, le=5 * MINUTE_MS)] = Field(default=6 * SECOND_MS, alias="session_timeout")
    """A worker that is silent for so long has lost its partitions to the others, in milliseconds."""


class Store(Section):
    """Where snapshots, incidents and decisions are kept."""

    url: Database = "sqlite:///rollguard.db"
    """Of SQLAlchemy: a file of SQLite for one host, PostgreSQL where a standby is to take over."""
    password: Secret | None = None
    """Of the user in `url`, which never holds it itself."""
    snapshot_ms: Annotated[LongSpan, Field(le=HOUR_MS)] = Field(default=10 * SECOND_MS, alias="snapshot")
    """So often a stage keeps its state, in milliseconds; after a crash it reads the log again from there."""


#: What the logs hold may be read again, and must find what came of it.
SHORTEST_MS = 40 * DAY_MS
RetentionSpan = Annotated[LongSpan, Field(ge=SHORTEST_MS)]


class Retention(Section):
    """How long the database keeps what is over, in milliseconds; nothing of an open incident ever goes. Null: for ever."""

    incidents_ms: RetentionSpan | None = Field(default=400 * DAY_MS, alias="incidents")
    """Closed incidents with their timeline and their rollbacks, since they closed."""
    outbox_ms: RetentionSpan | None = Field(default=90 * DAY_MS, alias="outbox")
    """Pages and advice, since they were sent or given up."""
    releases_ms: RetentionSpan | None = Field(default=180 * DAY_MS, alias="releases")
    """What the gate knows of a version, since it last learnt of it."""
    ledger_ms: RetentionSpan | None = Field(default=None, alias="ledger")
    """Entries of the ledger; what is left stays verifiable."""


class Http(Section):
    """The worker's own routes: /metrics, /healthz, /readyz."""

    host: Text = "127.0.0.1"
    """The address that it listens on; nobody from another machine reaches the loopback address."""
    port: Annotated[StrictInt, Field(ge=0, le=65_535)] = 6067
    """0: none are served."""


class Blind(Section):
    """When Rollguard itself counts as blind, and somebody is paged about that; None: never."""

    frontier_ms: LongSpan | None = Field(default=2 * MINUTE_MS, alias="frontier")
    """No bucket has closed for so long beyond its own length, by the clock on the wall, in milliseconds."""
    outbox_ms: LongSpan | None = Field(default=5 * MINUTE_MS, alias="outbox")
    """A page has waited in the outbox for so long, in milliseconds."""
    database_ms: LongSpan | None = Field(default=MINUTE_MS, alias="database")
    """The database has not taken a write for so long, in milliseconds."""
    brokers_ms: LongSpan | None = Field(default=MINUTE_MS, alias="brokers")
    """No broker has answered for so long, in milliseconds."""


class Logs(Section):
    """What the worker writes to standard error."""

    form: Literal["auto", "json", "text"] = "auto"
    """Auto: text on a terminal, else JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below it are left out."""


class Settings(Section):
    """All that an operator wrote, checked; what was left out has its default."""

    environment: Text = "production"
    """Only changes to this environment count."""
    bucket_ms: BucketSpan = Field(default=10 * SECOND_MS, alias="bucket")
    """Length of a bucket of event time, in milliseconds; divides an hour."""
    lookback_ms: LongSpan = Field(default=72 * HOUR_MS, alias="lookback")
    """Changes of so many milliseconds before an onset are suspects."""
    warmup_ms: Span = Field(default=2 * DAY_MS, alias="warmup")
    """Milliseconds of history before anything pages."""
    budget: Budget = Budget()
    baseline: Baseline = Baseline()
    places: dict[Text, Place] = {}
    """By value of the label `region`; a place not named here has UTC and no holidays."""
    labels: Labels = Labels()
    sources: dict[Name, Source] = {}
    metrics: dict[Name, Metric] = {}
    changes: Changes = Changes()
    mode: Mode | None = None
    """For services without their own; None: `observe` when live, `auto` in replays, where nothing is called."""
    services: dict[Text, Service] = {}
    calibration: Calibration = Calibration()
    policy: Policy = Policy()
    money_clock: MoneyClock = MoneyClock()
    accept: tuple[Accept, ...] = ()
    """New levels that are normal from a moment on."""
    respond: Respond = Respond()
    kafka: Kafka = Kafka()
    store: Store = Store()
    retention: Retention = Retention()
    http: Http = Http()
    logs: Logs = Logs()
    blind: Blind = Blind()

    def service(self, name: str | None) -> ServiceRules:
        """What holds for a service: its own where it names something, else what stands for all.

        Parameters
        ----------
        name : str or None
            None: nobody knows which; what stands for all holds.
        """
        own, respond = self.services.get(name or "", Service()), self.respond
        return ServiceRules(
            mode=own.mode or self.mode or Mode.OBSERVE,
            owner=own.owner,
            runbook=own.runbook,
            page=respond.page if own.page is None else own.page,
            escalate=respond.escalate if own.escalate is None else own.escalate,
            target=own.target or respond.target,
            approvals=own.approvals or respond.approvals,
        )
