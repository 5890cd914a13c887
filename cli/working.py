"""`rollguard worker`: the service, for as long as it is let."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from rollguard.config import Layer, RollguardError, Settings, default_text, load_layers, near_match, read_layer
from rollguard.service import Part, run_worker, set_up_logs
from rollguard.store import Store

__all__ = ["UsageError", "known_incident", "live_settings", "moment_ms", "unknown", "worker"]

ConfigToRun = Annotated[Path, typer.Option("--config", "-c", help="The config file, over the defaults.", metavar="FILE")]


class UsageError(RollguardError):
    """A command that was typed wrong."""

    code = "usage"


def live_settings(config: Path) -> Settings:
    """Settings of a config over the defaults."""
    return load_layers([Layer(default_text(), "default.yaml"), read_layer(config)])


def moment_ms(option: str, text: str) -> int:
    """Epoch ms of a time that was typed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: no time. Expected: RFC 3339 with an offset, as 2026-03-02T10:00:00Z.") from None
    if moment.tzinfo is None:
        raise UsageError(f"{option} {text}: no offset. Expected: RFC 3339 with one. Did you mean {text}Z?")
    return round(moment.timestamp() * 1000)


def unknown(what: str, name: str, known: Collection[str], *, of: str) -> UsageError:
    """Make the error that says that a name is none of those that are known, and which was probably meant."""
    near = near_match(name, tuple(known))
    hint = f" Did you mean '{near}'?" if near else ""
    return UsageError(f"{what} {name}: {of}. Expected one of: {', '.join(known) or 'none is declared'}.{hint}")


def known_incident(store: Store, incident_id: str) -> None:
    """Make sure that there is such an incident.

    Raises
    ------
    UsageError
        If there is none; says which was probably meant.
    """
    known = [row.incident_id for row in store.incidents()]
    if incident_id not in known:
        near = near_match(incident_id, known)
        raise UsageError(f"{incident_id}: no such incident. Expected: one of `rollguard incidents`." + (f" Did you mean '{near}'?" if near else ""))


def worker(
    *,
    config: ConfigToRun,
    only: Annotated[
        list[str] | None, typer.Option("--only", help=f"Run only this part; may be given again. One of: {', '.join(Part)}.", metavar="PART")
    ] = None,
    logs: Annotated[
        Literal["auto", "json", "text"] | None, typer.Option("--logs", help="Form of the logs, over the config's; auto: text on a terminal, else JSON.")
    ] = None,
) -> None:
    """Watch live topics: count, detect, blame, decide, for as long as it runs.

    It reads the topics that the config names, keeps its state in the database, and serves /metrics, /healthz and /readyz on the loopback
    address. Start as many as you like on one Kafka; with one database they share the work, and one takes over from another. Before the
    first start: `rollguard topics create`, then `rollguard check --live`.

        rollguard worker -c shop.yaml

        rollguard worker -c shop.yaml --only ingest --logs json

    Exit codes: 0 ended by a signal; 1 it could not go on; 2 wrong usage or config.
    """
    for part in only or ():
        if part not in set(Part):
            raise unknown("--only", part, tuple(Part), of="no such part")
    settings = live_settings(config)
    set_up_logs(logs or settings.logs.form, settings.logs.level)
    run_worker(settings, tuple(only or Part))
