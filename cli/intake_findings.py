"""Ways by which changes come in: keys of webhooks looked for, clusters that are watched asked whether we may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from rollguard.cli.findings import Finding
from rollguard.cli.places import Places
from rollguard.config import RollguardError, Settings
from rollguard.responders import deployments_of
from rollguard.service import channels_of
from rollguard.streams.kafka import find_secret

__all__ = ["clusters_tried", "intake_found"]


def intake_found(settings: Settings, places: Places) -> Iterator[Finding]:
    """Look for the secret of each key, and whether anybody listens."""
    told = settings.changes.http
    if not told.is_on:
        return
    for section in ("keys", "github", "argocd"):
        for name, key in getattr(told, section).items():
            one = told.model_copy(update={"keys": {}, "github": {}, "argocd": {}} | {section: {name: key}})
            what, where = f"changes by HTTP: {section}.{name}", places.of("changes", "http", section, name, "secret")
            try:
                (channel,) = channels_of(settings.model_copy(update={"changes": settings.changes.model_copy(update={"http": one})}))
            except RollguardError as error:
                yield Finding(state="mend", what=what, text=str(error), where=where)
            else:
                yield Finding(state="ok", what=what, text=f"POST {channel.path}, for {', '.join(key.services)}")
    if settings.http.port == 0:
        text = "there are keys, and nobody listens: http.port is 0. Expected: a port, or no keys."
        yield Finding(state="mend", what="changes by HTTP", text=text, where=places.of("http", "port"))


async def clusters_tried(settings: Settings, places: Places) -> list[Finding]:
    """Ask each API server for a Deployment, and watch for a moment."""
    return await asyncio.gather(*(_cluster_tried(settings, name, places) for name in settings.changes.kubernetes))


async def _cluster_tried(settings: Settings, name: str, places: Places) -> Finding:
    cluster, what, where = settings.changes.kubernetes[name], f"cluster {name}", places.of("changes", "kubernetes", name)
    try:
        for each in deployments_of(name, cluster, partial(find_secret, cluster.secret, f"changes.kubernetes.{name}.secret")):
            try:
                await each.tried()
            finally:
                await each.close()
    except RollguardError as error:
        return Finding(state="mend", what=what, text=str(error), where=where)
    return Finding(state="ok", what=what, text="its Deployments may be listed and watched")
