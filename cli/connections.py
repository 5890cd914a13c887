"""`rollguard check --live`: everything that a worker needs from outside, tried; what to mend, said."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy
import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.engine import URL, make_url

from rollguard.config import Http, Layer, RollguardError, Settings, Store, default_text, format_duration, load_layers, printable, read_layer
from rollguard.responders import KillSwitch
from rollguard.service import change_signer, checked_key, pager_of, target_of
from rollguard.streams.kafka import (
    Access,
    KafkaError,
    OwnTopics,
    SecretError,
    Topics,
    TopicSeen,
    differences,
    find_secret,
    group_of,
    own_topics,
    quiet_client_logs,
    source_topics,
)

__all__ = ["Finding", "findings", "settings_of", "tell_findings"]

State = Literal["ok", "note", "mend"]
#: Stages that read in a consumer group.
GROUPS = ("ingest", "detect", "desk", "changes")
DATABASE_S = 5
_STYLES: dict[State, str] = {"ok": "green", "note": "yellow", "mend": "bold red"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried.

    Attributes
    ----------
    state : {"ok", "note", "mend"}
        `mend`: a worker cannot do its work like this.
    what : str
        As `brokers`, `topic orders`.
    text : str
        What was found; if it is to be mended, how.
    """

    state: State
    what: str
    text: str


def settings_of(config: Path | None) -> Settings:
    """Read the shipped defaults, and an operator's config over them."""
    return load_layers([Layer(default_text(), "default.yaml"), *([] if config is None else [read_layer(config)])])


def tell_findings(settings: Settings, *, json: bool, store_reached: Callable[[Store], Finding] | None = None) -> None:
    """Try everything and print what was found.

    Raises
    ------
    typer.Exit
        With code 1 if something must be mended.
    """
    quiet_client_logs()
    found = asyncio.run(_gathered(settings, database_found if store_reached is None else store_reached))
    to_mend = sum(each.state == "mend" for each in found)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"findings": found, "mend": to_mend}), indent=2).decode())
    else:
        console = Console(highlight=False)
        for each in found:
            # One line each, however long: it is searched and copied.
            console.print(Text(f"{each.state:<5}", style=_STYLES[each.state]), Text(f"{each.what}: {printable(each.text)}"), soft_wrap=True)
        console.print(Text(f"{to_mend} to mend" if to_mend else "nothing to mend", style="bold"))
    if to_mend:
        raise typer.Exit(1)


async def _gathered(settings: Settings, store_reached: Callable[[Store], Finding]) -> list[Finding]:
    return [each async for each in findings(settings, store_reached)]


async def findings(settings: Settings, store_reached: Callable[[Store], Finding]) -> AsyncIterator[Finding]:
    """Try what a worker needs, one thing after another; what fails does not keep the rest from being tried.

    Parameters
    ----------
    settings : Settings
    store_reached : callable
        Tries the database.
    """
    yield Finding(state="ok", what="config", text="no mistakes")
    try:
        access: Access | None = Access(settings.kafka)
    except (SecretError, KafkaError) as error:
        access = None
        yield _to_mend("kafka", error)
    if access is not None:
        for each in await _kafka(settings, access):
            yield each
    yield await asyncio.to_thread(store_reached, settings.store)
    yield port_found(settings.http)
    for each in responders_found(settings):
        yield each


async def _kafka(settings: Settings, access: Access) -> list[Finding]:
    found: list[Finding] = []
    try:
        found += [each async for each in _brokers(access)]
        async with Topics.of(access) as topics:
            found += await _sources(settings, topics)
            found += await _own(own_topics(settings.kafka), topics)
            for group in (group_of(settings.kafka, stage) for stage in GROUPS):
                refused = await topics.may_join(group)
                found.append(Finding(state="ok", what=f"group {group}", text="may be joined") if refused is None else _to_mend("kafka", refused))
    except KafkaError as error:
        found.append(_to_mend("kafka", error))
    return found


async def _brokers(access: Access) -> AsyncIterator[Finding]:
    """All brokers, each at the address that it gives out: a bootstrap server alone says nothing of the others."""
    brokers = await access.reach()
    n = len(brokers)
    yield Finding(state="ok", what="brokers", text=f"{n} {'broker' if n == 1 else 'brokers'}, reached with {access.kafka.security_protocol}")
    for broker in brokers:
        try:
            await access.ask(broker.host, broker.port)
        except KafkaError as error:
            text = f"{error} It calls itself so in advertised.listeners; every client goes there."
            yield Finding(state="mend", what=f"broker {broker.node}", text=text)


async def _sources(settings: Settings, topics: Topics) -> list[Finding]:
    """The topics of others: there, readable, and how fresh."""
    names = source_topics(settings)
    seen, refused = await topics.describe(names)
    ages = await asyncio.gather(*(topics.newest_ms(name) for name in names if name in seen), return_exceptions=True)
    newest = dict(zip((name for name in names if name in seen), ages, strict=True))
    found: list[Finding] = []
    for name in names:
        what, age = f"topic {name}", newest.get(name)
        if name in refused:
            found.append(_to_mend("kafka", refused[name]))
        elif isinstance(age, KafkaError):
            found.append(_to_mend("kafka", age))
        elif isinstance(age, BaseException):
            raise age
        elif seen[name].leaderless:
            found.append(Finding(state="mend", what=what, text=f"{seen[name].leaderless} partitions without a leader. See to the brokers."))
        else:
            found.append(Finding(state="ok" if age is not None else "note", what=what, text=_fresh(seen[name], age)))
    return found


def _fresh(seen: TopicSeen, newest_ms: int | None) -> str:
    text = f"{seen.partitions} {'partition' if seen.partitions == 1 else 'partitions'}"
    if newest_ms is None:
        return f"{text}, no record yet"
    age_ms = round(1000 * time.time()) - newest_ms
    span = format_duration(abs(age_ms) // 1000 * 1000)
    return f"{text}, newest record {span} ago" if age_ms > -1000 else f"{text}, newest record {span} in the future: see to its producer's clock"


async def _own(own: OwnTopics, topics: Topics) -> list[Finding]:
    """Our own topics: there, as they should be, and ours to write and read."""
    seen, refused = await topics.describe([topic.name for topic in own], configs=True)
    found: list[Finding] = []
    for topic in own:
        what = f"topic {topic.name}"
        if topic.name in refused and not refused[topic.name].recoverable:
            found.append(_to_mend("kafka", refused[topic.name]))
            continue
        wrong = [Finding(state="mend" if each.wrong else "note", what=what, text=str(each).removeprefix(f"{what}: ")) for each in differences([topic], seen)]
        if topic.name in seen:
            denied = [await topics.may_write(topic.name), await topics.may_read(topic.name)]
            wrong += [_to_mend("kafka", each) for each in denied if each is not None]
        found += wrong or [Finding(state="ok", what=what, text="as it should be")]
    return found


def database_found(store: Store) -> Finding:
    """Try the database: a server by connecting, a file by its folder, without making it."""
    what = "database"
    url = make_url(store.url)
    try:
        if store.password is not None:
            url = url.set(password=find_secret(store.password, "store.password"))
    except SecretError as error:
        return _to_mend(what, error)
    named = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        return _file_found(what, url, named)
    arguments = {"connect_timeout": DATABASE_S}
    try:
        _connected(url.set(drivername="postgresql+psycopg"), arguments)
    except ImportError:
        return Finding(state="mend", what=what, text=f"{named}: PostgreSQL needs the package psycopg. Install rollguard[postgres].")
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error).strip().splitlines()[0]
        text = f"{named}: {reason}. Expected: a database that can be reached. Mend store.url or store.password, or see to the server."
        return Finding(state="mend", what=what, text=text)
    return Finding(state="ok", what=what, text=f"{named} reached")


def _file_found(what: str, url: URL, named: str) -> Finding:
    if not url.database or url.database == ":memory:":
        return Finding(state="mend", what=what, text=f"{named}: in memory, so nothing outlives the worker. Expected: sqlite:///FILE.")
    path = Path(url.database)
    if not path.is_file():
        folder = path.parent
        if not folder.is_dir():
            return Finding(state="mend", what=what, text=f"{path}: there is no folder {folder}. Make it, or mend store.url.")
        return Finding(state="ok", what=what, text=f"{path} is not there yet, and will be made")
    try:
        _connected(url, {"timeout": DATABASE_S})
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error)
        return Finding(state="mend", what=what, text=f"{path}: {reason}. Expected: a database of SQLite. Mend store.url, or move the file away.")
    return Finding(state="ok", what=what, text=f"{path} opened")


def _connected(url: URL, arguments: dict[str, Any]) -> None:
    engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            names = "SELECT count(*) FROM sqlite_master" if url.get_backend_name() == "sqlite" else "SELECT 1"
            connection.execute(sqlalchemy.text(names))
    finally:
        engine.dispose()


def port_found(http: Http) -> Finding:
    """Try the port of the worker's own routes."""
    what = "http"
    if http.port == 0:
        return Finding(state="note", what=what, text="port 0: no /metrics, /healthz and /readyz are served")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as one:
            # As a server does: a connection that has just ended holds no port.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        text = f"{http.host}:{http.port}: {reason}. Stop what listens there (a worker, if one runs), or set http.port."
        return Finding(state="mend", what=what, text=text)
    return Finding(state="ok", what=what, text=f"{http.host}:{http.port} is free")


def responders_found(settings: Settings) -> Iterator[Finding]:
    """Make pagers and targets, without asking them anything, and look for the keys of persons and the kill switch."""
    respond = settings.respond
    for name, pager in respond.pagers.items():
        yield _made(f"pager {name}", f"{pager.kind}; `rollguard page --test` tells it something", partial(pager_of, settings, name))
    for name, target in respond.targets.items():
        text = f"{target.kind}, compares: {target.compares}" + ("" if target.compares == "native" else ", so nothing is rolled back without a person")
        yield _made(f"target {name}", text, partial(target_of, settings, name))
    if settings.changes.secret is not None:
        yield _made("changes", "each record has to be signed", partial(change_signer, settings))
    for name in respond.people:
        yield _made(f"person {name}", "has a key", partial(checked_key, settings, name))
    if respond.kill_switch is not None:
        why_on = KillSwitch.why_file(Path(respond.kill_switch))
        yield Finding(state="note" if why_on else "ok", what="kill switch", text=why_on or f"{respond.kill_switch} says off: rollbacks may happen")


def _made(what: str, text: str, make: Callable[[], object]) -> Finding:
    try:
        make()
    except RollguardError as error:
        return Finding(state="mend", what=what, text=str(error))
    return Finding(state="ok", what=what, text=text)


def _to_mend(what: str, error: RollguardError) -> Finding:
    """What an error says, under the thing that it names."""
    text = str(error)
    where = error.where if isinstance(error, KafkaError) else error.key if isinstance(error, SecretError) else what
    return Finding(state="mend", what=where, text=text.removeprefix(f"{where}: "))
