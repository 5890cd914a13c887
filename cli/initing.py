"""`rollguard init`: from a sample of one's own topics to a config that reads them, each guess with its reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from rollguard.cli.sampling import file_samples, kafka_samples, named
from rollguard.config import Kafka, Layer, RollguardError, Settings, default_text, load_layers, near_match, printable
from rollguard.config.inference import ROLES, FieldGuess, Given, Inferred, Sample, SourceGuess, config_text, infer
from rollguard.incidents import ChangeRefusedError, change_sightings
from rollguard.streams import Decoder
from rollguard.streams.kafka import quiet_client_logs

__all__ = ["init"]

#: What a person types for "there is none".
NONE = "-"
LOCAL = "127.0.0.1:9092"
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


def init(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The config to write.", metavar="FILE")] = Path("rollguard.yaml"),
    bootstrap: Annotated[str | None, typer.Option("--bootstrap", help="Sample the topics of these brokers.", metavar="HOST:PORT")] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic", help=f"Which topic is what: one of {', '.join(ROLES)}, = and its name; {NONE} for none. May be given again.", metavar="ROLE=NAME"
        ),
    ] = None,
    sample: Annotated[
        list[Path] | None, typer.Option("--sample", help="Sample a file instead (.jsonl, .csv), named as its topic is. May be given again.", metavar="FILE")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="Where one of our fields stands, as orders.region=shop.market. May be given again.", metavar="ROLE.FIELD=PATH"),
    ] = None,
    environment: Annotated[str | None, typer.Option("--environment", help="Only changes to it can be guilty.", metavar="NAME")] = None,
    records: Annotated[int, typer.Option("--records", min=1, max=100_000, help="Records of each topic to look at: its newest.")] = 500,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Rollguard's own topics and groups begin with it.", metavar="NAME")] = None,
    security_protocol: Annotated[Protocol | None, typer.Option("--security-protocol", help="How the brokers are reached.")] = None,
    sasl_mechanism: Annotated[str | None, typer.Option("--sasl-mechanism", help="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.", metavar="NAME")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Who logs in.", metavar="NAME")] = None,
    password: Annotated[str | None, typer.Option("--password", help="Where the password stands.", metavar="env:NAME|file:PATH")] = None,
    cafile: Annotated[Path | None, typer.Option("--cafile", help="Certificates of the authorities that are trusted.", metavar="FILE")] = None,
    store: Annotated[str | None, typer.Option("--store", help="The database, if not a file beside the worker.", metavar="URL")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; what is not sure is marked `# CHECK:` in the config.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was inferred as one JSON object, for machines; asks nothing.")] = False,
) -> None:
    """Write a config for your own topics: from a sample of them it guesses which is what, and where time, labels and fields stand.

    It reads the newest records without a group, and writes nothing to Kafka. Each guess says what it is from; what it is not sure of it
    asks, or with --yes marks `# CHECK:`; what it did not find stands there with what to do.

        rollguard init --bootstrap kafka:9092

        rollguard init --bootstrap kafka:9092 --topic orders=shop.orders --field orders.region=shop.market --yes

        rollguard init --sample shop.orders.jsonl --sample web.errors.csv --out shop.yaml --yes

    Exit codes: 0 written; 1 Kafka did not answer; 2 wrong usage, or nothing in the samples looks like orders.
    """
    if out.exists() and not force:
        raise RollguardError(f"{out}: is there already, and is not written over. Name another with --out, or say --force.", code="usage")
    if not out.parent.is_dir():
        raise RollguardError(f"{out}: there is no folder {out.parent}. Make it, or name another with --out.", code="usage")
    if sample and bootstrap is not None:
        raise RollguardError("--sample: means nothing with --bootstrap. Leave one of them out.", code="usage")
    silent = yes or json
    given = _given(topic or (), field or ())
    kafka: dict[str, str] = {}
    if not sample:
        kafka["bootstrap_servers"] = bootstrap or (LOCAL if silent else _asked("Brokers, as HOST:PORT", LOCAL))
    answers = {"security_protocol": security_protocol, "sasl_mechanism": sasl_mechanism, "sasl_plain_username": user, "sasl_plain_password": password}
    kafka |= {key: value for key, value in answers.items() if value is not None}
    kafka |= {} if cafile is None else {"ssl_context.cafile": str(cafile)}
    kafka |= {} if prefix is None else {"prefix": prefix, "group": prefix}
    samples, source = _samples(kafka, given, sample or (), records)
    inferred = infer(samples, given)
    if not silent:
        inferred, given = _reviewed(samples, inferred, given)
    if environment is not None:
        inferred = msgspec.structs.replace(inferred, environment=environment, environment_why="as was said")
    if "orders" not in inferred.sources:
        names = ", ".join(sorted(each.name for each in samples)[:20])
        if not names:
            raise RollguardError(
                "orders: there is no topic to look at. Write events first, or give files: --sample orders.jsonl; docs/tutorial.md has a shop to try it on.",
                code="usage",
            )
        raise RollguardError(f"orders: no sample looks like orders (seen: {printable(names)}). Name it: --topic orders=NAME.", code="usage")
    text = config_text(inferred, kafka=kafka, store=store, source=source)
    settings = load_layers([Layer(default_text(), "default.yaml"), Layer(text, str(out))])
    _write(out, text, force=force)
    _tell(out, inferred, settings, samples, json=json)


def _given(topics: Sequence[str], fields: Sequence[str]) -> Given:
    said = named("--topic", topics)
    ours = [f"{role}.{name}" for role in ROLES[:3] for name in _names(role)]
    return Given(
        topics={role: None if name == NONE else name for role, name in said.items()},
        fields={(role, name): theirs for (role, _, name), theirs in ((each.partition("."), theirs) for each, theirs in named("--field", fields, ours).items())},
    )


def _names(role: str) -> tuple[str, ...]:
    return ("id", "ts", "service", "region", "version", *(("promised_minutes", "actual_minutes") if role == "deliveries" else ()))


def _samples(kafka: Mapping[str, str], given: Given, files: Sequence[Path], most: int) -> tuple[list[Sample], str]:
    named_topics = {role: name for role, name in given.topics.items() if name is not None}
    if files:
        samples = file_samples(files, most)
        source = f"up to {most} records each of {len(samples)} {'file' if len(samples) == 1 else 'files'}"
        known = [each.name for each in samples]
        for role, name in named_topics.items():
            if name not in known:
                near = near_match(name, known)
                hint = f" Did you mean '{near}'?" if near else ""
                raise RollguardError(f"--topic {role}={name}: no sample is called so. Expected: one of {', '.join(known)}.{hint}", code="usage")
        return samples, source
    quiet_client_logs()
    samples, left_out = kafka_samples(_kafka_of(kafka), named_topics, most)
    more = f" ({left_out} more were not looked at: name yours with --topic)" if left_out else ""
    return samples, f"the newest {most} records, at most, of each of {len(samples)} {'topic' if len(samples) == 1 else 'topics'}{more}"


def _kafka_of(kafka: Mapping[str, str]) -> Kafka:
    """The section as the config will read it; its mistakes are those of the options."""
    whole: dict[str, Any] = {key: value for key, value in kafka.items() if "." not in key}
    whole["ssl_context"] = {key.partition(".")[2]: value for key, value in kafka.items() if "." in key}
    return load_layers([Layer(default_text(), "default.yaml"), Layer(msgspec.json.encode({"kafka": whole}).decode(), "the options")]).kafka


def _reviewed(samples: Sequence[Sample], inferred: Inferred, given: Given) -> tuple[Inferred, Given]:
    """Ask a person which topic is what, then for each field that is not sure."""
    names = [each.name for each in samples]
    topics = dict(given.topics)
    for role in ROLES:
        if role not in topics:
            found = inferred.changes if role == "changes" else inferred.sources.get(role)
            answer = _asked(f"Topic of {role} ({NONE} for none)", NONE if found is None else found.topic, (*names, NONE))
            topics[role] = None if answer == NONE else answer
    given = Given(topics=topics, fields=given.fields)
    inferred = infer(samples, given)
    fields = dict(given.fields)
    for role, source in sorted(inferred.sources.items()):
        for guess in source.fields:
            if guess.doubtful and (role, guess.name) not in fields and not (guess.theirs is None and guess.name in {"version", "actual_minutes"}):
                answer = _asked(f"{role}: field for {guess.name} ({guess.why or 'not found'}; {NONE} for none)", guess.theirs or NONE)
                if answer not in {NONE, guess.theirs}:
                    fields[role, guess.name] = answer
    given = Given(topics=topics, fields=fields)
    inferred = infer(samples, given)
    if inferred.changes is not None:
        answer = _asked("Environment whose changes count", inferred.environment or "production")
        if answer != inferred.environment:
            inferred = msgspec.structs.replace(inferred, environment=answer, environment_why="as was said")
    return inferred, given


def _asked(question: str, default: str, known: Sequence[str] = ()) -> str:
    """Ask until the answer is one that can be. Questions go to stderr: stdout is what was found."""
    while True:
        try:
            answer = str(typer.prompt(printable(question), default=default, err=True)).strip()
        except typer.Abort:
            if not sys.stdin.isatty():
                typer.echo("\nNobody answers here, and nothing was written. With --yes nothing is asked, and each doubt is marked `# CHECK:`.", err=True)
            raise
        if not known or answer in known:
            return answer
        near = near_match(answer, known)
        typer.echo(f"There is no {printable(answer)}." + (f" Did you mean '{near}'?" if near else f" Expected: one of {', '.join(known)}."), err=True)


def _write(out: Path, text: str, *, force: bool) -> None:
    """Write the config whole or not at all; without `force` never over one that came in between."""
    if not force:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
        return
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(out)


def _tell(out: Path, inferred: Inferred, settings: Settings, samples: Sequence[Sample], *, json: bool) -> None:
    read = {role: _read(settings, source, samples) for role, source in inferred.sources.items()}
    if inferred.changes is not None:
        read["changes"] = _changes_read(settings, inferred.changes, samples)
    doubts = [f"{role}.{guess.name}" for role, source in inferred.sources.items() for guess in source.fields if _is_told(guess)]
    following = [f"rollguard topics create -c {out}", f"rollguard check -c {out} --live", f"rollguard worker -c {out}"]
    if json:
        found = {"config": str(out), "inferred": inferred, "read": read, "check": doubts, "next": following}
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    typer.echo(f"{out}: written.")
    for role, source in [*inferred.sources.items(), *([("changes", inferred.changes)] if inferred.changes is not None else [])]:
        told = read[role]
        line = f"{role}: {source.topic}: {told['read']} of {told['of']} records of the sample can be read"
        typer.echo(printable(line + (f"; the first that cannot {told['first_refused']}" if told["first_refused"] else "")))
    for role in ROLES:
        if role not in read:
            typer.echo(f"{role}: not found; the config says what to do.")
    if "changes" in read and read["changes"]["first_refused"]:
        typer.echo("A change has to be a CDEvent or have our own form, or nothing can be blamed: docs/changes-in.md has both, and ways to do without.")
    marks = out.read_text(encoding="utf-8").count("# CHECK:") - 1
    if marks:
        typer.echo(f"{marks} {'line is' if marks == 1 else 'lines are'} marked `# CHECK:` in it: look at {'it' if marks == 1 else 'them'} first.")
    typer.echo(f"Next: {' && '.join(following)}")


def _is_told(guess: FieldGuess) -> bool:
    return guess.doubtful and not (guess.theirs is None and guess.name == "version")


def _read(settings: Settings, source: SourceGuess, samples: Sequence[Sample]) -> dict[str, Any]:
    """How much of its sample a source reads with the config, as the worker would."""
    sample = next(each for each in samples if each.name == source.topic)
    done = Decoder(settings, source.role).decode([msgspec.json.encode(record) for record in sample.records])
    first = done.refusals[0] if done.refusals else None
    return {
        "read": len(done.index),
        "of": len(sample.records) - done.filtered + sample.unread,
        "first_refused": first.detail.rstrip(".") if first is not None else "is no object of JSON" if sample.unread else None,
    }


def _changes_read(settings: Settings, source: SourceGuess, samples: Sequence[Sample]) -> dict[str, Any]:
    sample = next(each for each in samples if each.name == source.topic)
    refused: list[str] = []
    for record in sample.records:
        try:
            change_sightings(msgspec.json.encode(record), environment=settings.environment)
        except ChangeRefusedError as error:
            refused.append(f"is refused: {error}".rstrip("."))
    return {"read": len(sample.records) - len(refused), "of": len(sample.records) + sample.unread, "first_refused": refused[0] if refused else None}
