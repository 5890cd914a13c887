"""What gives settings their meaning, as a hash: whoever kept state under another hash must not go on with it."""

import hashlib
import json
from typing import Any

from rollguard.config.model import Settings, Source


def settings_hash(settings: Settings) -> str:
    """Hash all that settings mean.

    The order of keys, comments, ways of writing (60s, 1m) and layers make no difference; neither does where things are (`kafka`, `store`,
    `http`), how long what is over is kept (`retention`), what the worker says of itself (`logs`, `blind`), by what ways changes come and what they are
    signed with, an accepted level, which acts at its own moment and changes nothing before it, nor what is done about an incident (`mode`, `services`,
    `calibration`, `policy`, `respond`), which holds from the next decision on.

    Parameters
    ----------
    settings : Settings
        Any.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    elsewhere = dict.fromkeys(("kafka", "store", "retention", "http", "logs", "blind", "accept", "mode", "services", "calibration", "policy", "respond"), True)
    return _hash(settings.model_dump(mode="json", exclude={**elsewhere, "changes": {"secret", "http", "kubernetes"}}))


def metric_hash(settings: Settings, metric_name: str) -> str:
    """Hash what gives a metric its numbers: sources, fields, labels and bucket; not what is concluded from them.

    How long a source waits (`lateness`, `idle`, `ahead`) moves few events and begins no history anew; neither does what
    detection makes of the numbers (`worse`, `smallest`, `watch`, `model`, `baseline`, `places`, `accept`).

    Parameters
    ----------
    settings : Settings
        Any.
    metric_name : str
        One of `settings.metrics`.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    KeyError
        If there is no such metric.
    """
    metric = settings.metrics[metric_name]
    used = ["id", "ts", *settings.labels.watched, *settings.labels.compare]
    own = [*used, *metric.where, *([metric.field] if metric.field else [])]
    meaning: dict[str, Any] = {
        "bucket_ms": settings.bucket_ms,
        "labels": settings.labels.model_dump(mode="json"),
        "kind": metric.kind,
        "source": _source(settings.sources[metric.source], own),
        "field": metric.field,
        "where": metric.where,
    }
    if metric.against is not None:
        meaning["against"] = _source(settings.sources[metric.against], used)
        meaning["on"] = sorted(metric.on)
    if metric.kind == "sum":
        meaning["scale"] = metric.scale
    return _hash(meaning)


def _source(source: Source, fields: list[str]) -> dict[str, Any]:
    read = source.model_dump(mode="json", include={"topic", "format", "max_bytes", "epoch", "where", "fields"})
    if source.points is not None:
        read["points"] = source.points.model_dump(mode="json")
        fields = [*fields, source.points.weight]
    read["fields"] = {ours: name for ours, name in read["fields"].items() if ours in {*fields, *source.where}}
    return read


def _hash(meaning: dict[str, Any]) -> str:
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(canonical.encode("ascii"), digest_size=16).hexdigest()
