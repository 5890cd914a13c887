"""How the keys of pagers, targets, persons and services depend on one another."""

from collections.abc import Iterator, Sequence
from typing import Any

from rollguard.config.consistency import listed
from rollguard.config.document import Node
from rollguard.config.errors import Mistake, shown
from rollguard.config.explain import mistake_at
from rollguard.config.model import Settings
from rollguard.config.response import folded

__all__ = ["contradictions"]

#: What each kind of pager and target needs, and what else means something to it.
_PAGER_NEEDS = {"pagerduty": ("secret",), "alertmanager": ("url",), "slack": ("secret",), "webhook": ("url", "secret"), "apprise": ("secret",), "log": ()}
_PAGER_KEYS = {"alertmanager": ("secret", "labels"), "pagerduty": ("url", "webhook_secret")}
_TARGET_NEEDS = {"kubernetes": ("url", "secret"), "argo_rollouts": ("url", "secret"), "webhook": ("url", "secret"), "command": ("argv",)}
_TARGET_KEYS = {
    "kubernetes": ("namespace", "name", "container"),
    "argo_rollouts": ("namespace", "name", "container"),
    "command": ("current", "cas"),
    "webhook": ("cas",),
}
_COMMON = ("kind", "timeout_ms", "confirm_ms", "ca_file")


def contradictions(settings: Settings, root: Node) -> Iterator[Mistake]:
    """Find pagers and targets that are named and not declared, or lack what their kind needs, and persons who share a name."""
    respond = settings.respond
    for section, needs, more in (("pagers", _PAGER_NEEDS, _PAGER_KEYS), ("targets", _TARGET_NEEDS, _TARGET_KEYS)):
        for name, each in sorted(getattr(respond, section).items()):
            yield from _keys_of_kind(root, ("respond", section, name), each, needs[each.kind], more.get(each.kind, ()))
    pagers, targets = sorted(respond.pagers), sorted(respond.targets)
    named: list[tuple[tuple[str, ...], Any]] = [(("respond", key), getattr(respond, key)) for key in ("page", "fallback", "escalate")]
    named += [(("services", name, key), getattr(service, key) or ()) for name, service in settings.services.items() for key in ("page", "escalate")]
    for path, names in named:
        for place, name in enumerate(names):
            if name not in respond.pagers:
                yield mistake_at(root, (*path, place), f"there is no pager {shown(name)}", expected=listed(pagers), known=pagers, word=name)
    chosen: list[tuple[tuple[str, ...], str | None]] = [(("respond", "target"), respond.target)]
    chosen += [(("services", name, "target"), service.target) for name, service in settings.services.items()]
    for path, target in chosen:
        if target is not None and target not in respond.targets:
            yield mistake_at(root, path, f"there is no target {shown(target)}", expected=listed(targets), known=targets, word=target)
    for key in ("freezes", "planned"):
        for place, span in enumerate(getattr(respond, key)):
            if span.until_ms <= span.since_ms:
                yield mistake_at(root, ("respond", key, place, "to"), "not after 'from'", expected="a later time")
    yield from _people(settings, root)


def _keys_of_kind(root: Node, path: tuple[str, ...], section: Any, needs: Sequence[str], more: Sequence[str]) -> Iterator[Mistake]:
    for key in needs:
        if not getattr(section, key):
            yield mistake_at(root, path, f"a {section.kind} needs the key '{key}'", expected=f"{key}: {'env:NAME or file:PATH' if key == 'secret' else '…'}")
    for key in sorted(section.model_fields_set):
        if key not in {*needs, *more, *_COMMON}:
            yield mistake_at(root, (*path, key), f"means nothing to a {section.kind}", expected=listed(sorted({*needs, *more, "timeout"})))


def _people(settings: Settings, root: Node) -> Iterator[Mistake]:
    """Check that nobody shares a name, and that as many may approve as have to."""
    taken: dict[str, str] = {}
    for name, person in sorted(settings.respond.people.items()):
        for alias in (name, *person.aliases):
            other = taken.setdefault(folded(alias), name)
            if other != name:
                yield mistake_at(
                    root, ("respond", "people", name), f"{shown(alias)} is a name of {other} too", expected="names and aliases of one person alone"
                )
    able = sum(not person.bot for person in settings.respond.people.values())
    needed = max([settings.respond.approvals, *(service.approvals or 1 for service in settings.services.values())])
    if 0 < able < needed:
        yield mistake_at(root, ("respond", "people"), f"{needed} approvals are needed, and {able} may give them", expected=f"at least {needed} who are no bots")
