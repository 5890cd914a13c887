"""What was inferred as a config with a reason beside each guess, and what to do beside each gap."""

import json
import re
from collections.abc import Iterator, Mapping

from rollguard.config.inference.records import SURE, FieldGuess, Inferred, SourceGuess
from rollguard.config.model import Labels

__all__ = ["config_text"]

#: Where a comment begins, if what stands before it is not longer.
_COMMENT_AT = 44
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(?::[0-9]+)?|[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]+")
#: Words that YAML of some version takes for something else than text.
_NO_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
#: By source: the metrics that fall away with it.
_METRICS = {"errors": ("errors",), "deliveries": ("promised_minutes", "actual_minutes")}
#: What a source's absence costs, and how to add it later.
_ABSENT = {
    "errors": "no topic looks like website errors: a rise of errors will not be seen. To add it, put {topic: NAME, fields: {...}} here",
    "deliveries": "no topic looks like deliveries: wrong promises will not be seen. To add it, put {topic: NAME, fields: {...}} here",
}
#: What stands for a watched label that one source lacks: any change may have reached it.
_ANYWHERE = f"'{Labels.OTHER}'"


def config_text(inferred: Inferred, *, kafka: Mapping[str, str], store: str | None = None, source: str = "samples") -> str:
    """Write a config.

    Parameters
    ----------
    inferred : Inferred
        With a source `orders` at least.
    kafka : mapping of str to str
        Keys of the section `kafka` that differ from the defaults.
    store : str or None
        Address of the database; None: the default.
    source : str
        What was read, for the first line.

    Returns
    -------
    str
        YAML that lies over the shipped defaults.
    """
    return "\n".join(_aligned(_lines(inferred, kafka, store, source))) + "\n"


Line = tuple[str, str]


def _lines(inferred: Inferred, kafka: Mapping[str, str], store: str | None, source: str) -> Iterator[Line]:
    yield f"# Written by `rollguard init` from {source}.", ""
    yield "# Only what differs from the shipped defaults stands here; every key is explained in config/default.yaml.", ""
    yield "# `# CHECK:` marks what has to be looked at before it is relied on. Then: rollguard check --live -c THIS_FILE", ""
    yield "", ""
    yield from _environment(inferred)
    watched = _watched(inferred)
    yield from _labels(inferred, watched)
    yield "", ""
    yield "sources:", ""
    for role in ("orders", "errors", "deliveries"):
        if role in inferred.sources:
            yield from _source(inferred.sources[role], watched)
        else:
            yield f"  {role}: null", _ABSENT[role]
    yield from _metrics(inferred, watched)
    yield "", ""
    yield from _changes(inferred.changes)
    yield "", ""
    yield from _kafka(kafka)
    if store is not None:
        yield "", ""
        yield "store:", ""
        yield f"  url: {_scalar(store)}", "as was said"
    yield "", ""
    yield "mode: observe", "everything is recorded and nobody is told; then advise, approve, auto (docs/response.md)"
    yield "# respond:", "who is paged; without it the log alone is told"
    yield "#   pagers: {oncall: {kind: pagerduty, secret: env:PAGERDUTY_KEY}}", ""
    yield "#   page: [oncall]", ""
    if inferred.unused:
        yield "", ""
        yield f"# Looked at and not used: {', '.join(_printable(name) for name in inferred.unused[:20])}.", ""


def _environment(inferred: Inferred) -> Iterator[Line]:
    if inferred.environment is None:
        yield "# environment: production", "only changes to this environment can be guilty; no change in the sample says one, so the default stays"
    else:
        doubt = "" if inferred.environment.lower().startswith(("prod", "live")) else "CHECK: it does not sound like production: "
        yield f"environment: {_scalar(inferred.environment)}", f"{doubt}{inferred.environment_why}"


def _watched(inferred: Inferred) -> tuple[str, ...]:
    """Labels that some source has."""
    return tuple(label for label in ("service", "region") if any(each.field(label).theirs is not None for each in inferred.sources.values()))


def _labels(inferred: Inferred, watched: tuple[str, ...]) -> Iterator[Line]:
    lost = [label for label in ("service", "region") if label not in watched]
    if lost:
        yield "labels:", ""
        why = {
            "service": "no field looks like a service, so no change can be told from another by where it hurts, and nothing is rolled back alone",
            "region": "no field looks like a region, so what hurts in one place alone is seen later",
        }
        advice = f"To add {' and '.join(lost)}: name the field in each source below, and take away this line"
        yield f"  watched: [{', '.join(watched)}]", f"CHECK: {'; '.join(why[label] for label in lost)}. {advice}"
    if all(each.field("version").theirs is None for each in inferred.sources.values()):
        yield "# labels: {compare: [version]}", "no field looks like a version: new and old cannot be compared. Let events carry one and name it in `fields`"


def _source(source: SourceGuess, watched: tuple[str, ...]) -> Iterator[Line]:
    yield f"  {source.role}:", ""
    if source.file is not None:
        yield f"    topic: {_scalar(source.topic)}", f"CHECK: write the topic's name here; the sample was the file {_printable(source.file)}"
    else:
        yield f"    topic: {_scalar(source.topic)}", f"{'' if source.sure >= SURE else 'CHECK: '}{source.why}"
    if source.epoch not in {None, "ms"}:
        yield f"    epoch: {source.epoch}", f"guessed: {source.form}"
    if source.where:
        chosen = ", ".join(f"{_scalar(name)}: [{', '.join(map(_scalar, values))}]" for name, values in source.where.items())
        yield f"    where: {{{chosen}}}", f"only these records of the topic; {source.field('kind').why}"
    elif source.all_count:
        yield "    # where: {kind: [VALUE]}", source.all_count
    yield "    fields:", ""
    for guess in source.fields:
        yield from _field(guess, source, watched)


def _field(guess: FieldGuess, source: SourceGuess, watched: tuple[str, ...]) -> Iterator[Line]:
    name, perhaps = guess.name, f" ({guess.why})" if guess.why else ""
    if guess.theirs is not None:
        written = f"{{path: {json.dumps(guess.theirs, ensure_ascii=False)}}}" if guess.path else _scalar(guess.theirs)
        yield f"      {name}: {written}", f"{'CHECK: ' if guess.doubtful else ''}{guess.why}"
    elif name == "ts":
        yield f"      {name}: ts", f"CHECK: no field of {source.records} records looks like a time. Name it here; unit of a number: `epoch` above"
    elif name == "version":
        yield f"      {name}: version", "not found; a record without it counts all the same. Name the field here if there is one"
    elif name in watched:
        yield (
            f'      {name}: {{path: "{_ANYWHERE}"}}',
            f"CHECK: not found{perhaps}, so these events count as of no certain {name}. Name the field here if there is one",
        )
    elif name == "id":
        doubt, advice = "CHECK: " if perhaps else "", "Name a field that is different in each event, if there is one"
        yield f"      {name}: null", f"{doubt}not found{perhaps}: a record that is sent twice counts twice. {advice}"
    else:
        yield f"      {name}: null", f"not found{perhaps}"


def _metrics(inferred: Inferred, watched: tuple[str, ...]) -> Iterator[Line]:
    gone = [name for role, names in _METRICS.items() if role not in inferred.sources for name in names]
    if (deliveries := inferred.sources.get("deliveries")) is not None:
        gone += [name for name in _METRICS["deliveries"] if deliveries.field(name).theirs is None]
    on = _joined_on(inferred, watched)
    if not gone and on == ("region",):
        return
    yield "", ""
    yield "metrics:", ""
    if "errors" in inferred.sources and on != ("region",):
        yield f"  errors: {{on: [{', '.join(on)}]}}", "all together, since errors and orders do not both say a region (the default)"
    for name in gone:
        yield f"  {name}: null", "nothing in the samples measures it"


def _joined_on(inferred: Inferred, watched: tuple[str, ...]) -> tuple[str, ...]:
    """The labels by which errors and orders are put side by side: the region, if both say one; never the service, since errors tell of another."""
    pair = [inferred.sources[role] for role in ("orders", "errors") if role in inferred.sources]
    return ("region",) if "region" in watched and all(each.field("region").theirs is not None for each in pair) else ()


def _changes(changes: SourceGuess | None) -> Iterator[Line]:
    yield "changes:", "deploys and other changes: without them nothing can be blamed"
    if changes is None:
        yield "  topic: deploys", "CHECK: no topic looks like changes. Have the pipeline write to one, or send them by HTTP (docs/changes-in.md)"
    elif changes.file is not None:
        yield f"  topic: {_scalar(changes.topic)}", f"CHECK: write the topic's name here; the sample was the file {_printable(changes.file)}"
    else:
        yield f"  topic: {_scalar(changes.topic)}", f"{'' if changes.sure >= SURE else 'CHECK: '}{changes.why}"
    yield "  # quiet: 12h", "set it: a feed that says nothing for longer counts as broken"


def _kafka(kafka: Mapping[str, str]) -> Iterator[Line]:
    yield "kafka:", ""
    nested = {name.partition(".")[2]: value for name, value in kafka.items() if name.startswith("ssl_context.")}
    for name, value in kafka.items():
        if "." not in name:
            yield f"  {name}: {_scalar(value)}", ""
    if nested:
        yield f"  ssl_context: {{{', '.join(f'{name}: {_scalar(value)}' for name, value in nested.items())}}}", ""
    if not kafka:
        yield "  bootstrap_servers: 127.0.0.1:9092", "CHECK: the samples were files; write the address of your brokers here"
    if "prefix" not in kafka:
        yield "  # prefix: rollguard", "Rollguard's own topics begin with it; another one for each Rollguard on these brokers"


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _aligned(lines: Iterator[Line]) -> Iterator[str]:
    for text, comment in lines:
        comment = "".join(each if each.isprintable() else " " for each in comment)  # noqa: PLW2901 - a comment never leaves its line
        yield f"{text:<{_COMMENT_AT}} # {comment}" if comment else text
