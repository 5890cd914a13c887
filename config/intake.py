"""How changes come in besides records of the topic: keys of webhooks, with what each may speak for, and clusters that are watched."""

from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from rollguard.config.paths import wrong_path
from rollguard.config.values import MINUTE_MS, LongSpan, Name, Secret, Section, Text, Url, refuse, says_something

__all__ = ["ArgoKey", "Cluster", "GithubKey", "Intake", "Key", "Mapped", "Rate"]

#: Where a pod finds what the cluster gives it.
IN_CLUSTER_URL = "https://kubernetes.default.svc"
IN_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount"


def _is_a_path(text: str) -> str:
    wrong = wrong_path(says_something(text))
    if wrong is not None:
        raise refuse(*wrong)
    return text


Path = Annotated[StrictStr, AfterValidator(_is_a_path)]
#: Of services, as checkout or promise-*.
Patterns = tuple[Text, ...]


class Rate(Section):
    """How many requests a key may make."""

    requests: Annotated[StrictInt, Field(ge=1, le=100_000)] = 120
    """So many at once, and in each span of `per_ms`."""
    per_ms: LongSpan = Field(default=MINUTE_MS, alias="per")
    """In this time so many requests come back, evenly, in milliseconds."""


class Mapped(Section):
    """Where the fields of a change stand in a message, as JMESPath; where nothing is said or found, as its sender is read by default."""

    deploy_id: Path | None = None
    """One for all waves of a change."""
    service: Path | None = None
    """What was changed."""
    region: Path | None = None
    """A text, or a list of them; nothing: everywhere."""
    environment: Path | None = None
    """Only changes to that of the config count."""
    change_kind: Path | None = None
    """code, config, flag, migration or infra."""
    version: Path | None = None
    """As the events call it."""
    from_version: Path | None = None
    """What was live before."""
    author: Path | None = None
    """Who changed it, as `respond.people` or its aliases name them."""
    approvals: Path | None = None
    """How many persons approved it, a whole number."""


class Key(Section):
    """Whoever holds it may say that something was changed."""

    secret: Secret
    """Of POST /changes: whsec_… (Standard Webhooks)."""
    services: Patterns = ("*",)
    """Of what; an asterisk stands for any letters. Whatever is said of another service is refused."""


class GithubKey(Key):
    """A webhook of a repository or an organisation; its secret is the one that GitHub was given."""

    repositories: dict[Text, Patterns] = {}
    """By pattern of owner/name: the services that a repository may speak for; if there are none, any repository, for `services`."""
    fields: Mapped = Mapped()


class ArgoKey(Key):
    """Notifications of an Argo CD; its secret is the bearer token that they come with."""

    fields: Mapped = Mapped()


class Cluster(Section):
    """A cluster whose Deployments are watched."""

    url: Url = IN_CLUSTER_URL
    """Of the API server; as shipped, that of the cluster that the worker itself runs in."""
    secret: Secret = f"file:{IN_CLUSTER}/token"
    """A bearer token; read for each request, since those of service accounts rotate."""
    ca_file: Text | None = None
    """Certificates of the authorities that are trusted; None: of the worker's own cluster what the pod finds, else the system's."""
    namespaces: tuple[Text, ...] = ()
    """Those that are watched; if there are none, all."""
    selector: Text | None = None
    """Only Deployments with these labels, as kubectl takes them."""
    service_label: Text = "app.kubernetes.io/name"
    """Label of the Deployment that names its service; one without it is called as itself."""
    version_label: Text | None = None
    """Label of the pods that names the version, as app.kubernetes.io/version; None: the tag or digest of the image, as rollbacks compare."""
    author: Text | None = None
    """Annotation of the Deployment with the name of the person who changed it; None: nobody is known to have done it."""
    container: Text | None = None
    """Whose image is meant; None: the first."""
    region: Text | None = None
    """The place that the cluster serves; None: everywhere."""
    region_label: Text | None = None
    """Label of the Deployment that names its place, where a cluster serves several."""
    timeout_ms: Annotated[LongSpan, Field(le=5 * MINUTE_MS)] = Field(default=MINUTE_MS // 2, alias="timeout")
    """Of one request that is no watch, in milliseconds."""

    @property
    def trusted(self) -> str | None:
        """File of the certificates that are trusted; None: the system's."""
        return self.ca_file or (f"{IN_CLUSTER}/ca.crt" if self.url == IN_CLUSTER_URL else None)


class Intake(Section):
    """Webhooks that are taken; without a key there is no route."""

    rate: Rate = Rate()
    keys: dict[Name, Key] = {}
    """Of POST /changes."""
    github: dict[Name, GithubKey] = {}
    """Of POST /changes/github."""
    argocd: dict[Name, ArgoKey] = {}
    """Of POST /changes/argocd."""

    @property
    def is_on(self) -> bool:
        """Whether there is a key, and so a route."""
        return bool(self.keys or self.github or self.argocd)
