"""`rollguard check --live`: everything that a worker needs from outside, tried; what to mend, said."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.engine import URL, make_url

from rollguard.cli.findings import Finding, State, kafka_to_mend, to_mend
from rollguard.cli.intake_findings import clusters_tried, intake_found
from rollguard.cli.places import Places
from rollguard.cli.responder_findings import responders_found, responders_tried
from rollguard.cli.topic_findings import own_findings, topic_findings
from rollguard.config import Http, Layer, Settings, Store, default_text, load_layers, printable, read_layer
from rollguard.store import Store as Database
from rollguard.store import StoreError
from rollguard.streams.kafka import Access, KafkaError, SecretError, Topics, find_secret, group_of, own_topics, quiet_client_logs

__all__ = ["findings", "settings_of", "tell_findings"]

#: Stages that read in a consumer group.
GROUPS = ("ingest", "detect", "desk", "changes")
DATABASE_MS = 5_000
_STYLES: dict[State, str] = {"ok": "green", "note": "yellow", "mend": "bold red"}


def settings_of(config: Path | None) -> Settings:
    """Read the shipped defaults, and an operator's config over them."""
    return load_layers([Layer(default_text(), "default.yaml"), *([] if config is None else [read_layer(config)])])


def tell_findings(settings: Settings, places: Places, *, json: bool) -> None:
    """Try everything and print what was found.

    Raises
    ------
    typer.Exit
        With code 1 if something must be mended.
    """
    quiet_client_logs()
    found = asyncio.run(_gathered(settings, places))
    mend = sum(each.state == "mend" for each in found)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode({"findings": found, "mend": mend}), indent=2).decode())
    else:
        console = Console(highlight=False)
        for each in found:
            # One line each, however long: it is searched and copied.
            told = f"{each.what}: {printable(each.text)}" + (f" ({each.where})" if each.where and each.state != "ok" else "")
            console.print(Text(f"{each.state:<5}", style=_STYLES[each.state]), Text(told), soft_wrap=True)
        console.print(Text(f"{mend} to mend" if mend else "nothing to mend", style="bold"))
    if mend:
        raise typer.Exit(1)


async def _gathered(settings: Settings, places: Places) -> list[Finding]:
    return [each async for each in findings(settings, places)]


async def findings(settings: Settings, places: Places) -> AsyncIterator[Finding]:
    """Try what a worker needs, one thing after another; what fails does not keep the rest from being tried.

    Parameters
    ----------
    settings : Settings
    places : Places
        Where its keys stand.
    """
    yield Finding(state="ok", what="config", text="no mistakes")
    try:
        access: Access | None = Access(settings.kafka)
    except (SecretError, KafkaError) as error:
        access = None
        yield kafka_to_mend(error, places)
    if access is not None:
        for each in await _kafka(settings, access, places):
            yield each
    yield await asyncio.to_thread(database_found, settings.store, places)
    yield port_found(settings.http, places)
    for each in intake_found(settings, places):
        yield each
    for each in await clusters_tried(settings, places):
        yield each
    for each in responders_found(settings, places):
        yield each
    for each in await responders_tried(settings, places):
        yield each


async def _kafka(settings: Settings, access: Access, places: Places) -> list[Finding]:
    found: list[Finding] = []
    try:
        found += [each async for each in _brokers(access, places)]
        async with Topics.of(access) as topics:
            found += await topic_findings(settings, access, topics, places)
            found += await own_findings(settings, own_topics(settings.kafka), topics, places)
            for group in (group_of(settings.kafka, stage) for stage in GROUPS):
                refused = await topics.may_join(group)
                ok = Finding(state="ok", what=f"group {group}", text="may be joined")
                found.append(ok if refused is None else to_mend("kafka", refused, places.of("kafka", "group")))
    except KafkaError as error:
        found.append(kafka_to_mend(error, places))
    return found


async def _brokers(access: Access, places: Places) -> AsyncIterator[Finding]:
    """All brokers, each at the address that it gives out: a bootstrap server alone says nothing of the others."""
    brokers = await access.reach()
    n = len(brokers)
    yield Finding(state="ok", what="brokers", text=f"{n} {'broker' if n == 1 else 'brokers'}, reached with {access.kafka.security_protocol}")
    for broker in brokers:
        try:
            await access.ask(broker.host, broker.port)
        except KafkaError as error:
            text = f"{error} It calls itself so in advertised.listeners; every client goes there."
            yield Finding(state="mend", what=f"broker {broker.node}", text=text, where=places.of("kafka", "bootstrap_servers"))


def database_found(store: Store, places: Places) -> Finding:
    """Try the database: a server by connecting, a file by its folder, without making it."""
    what, where = "database", places.of("store", "url")
    url = make_url(store.url)
    try:
        password = None if store.password is None else find_secret(store.password, "store.password")
    except SecretError as error:
        return to_mend(what, error, places.of("store", "password"))
    if url.get_backend_name() == "sqlite" and (finding := _file_found(what, url, where)) is not None:
        return finding
    try:
        database = Database.open(store.url, password=password, wait_ms=DATABASE_MS)
        try:
            schema = database.refuse_newer()
        finally:
            database.close()
    except StoreError as error:
        refused_password = "password" in error.problem and password is not None
        text = f"{error} Expected: a database that can be reached. Mend store.url, or see to the server." if error.recoverable else str(error)
        return Finding(state="mend", what=what, text=text, where=places.of("store", "password") if refused_password else where)
    named = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    state = "it is empty, and will be set up" if schema is None else f"its schema is {schema}"
    return Finding(state="ok", what=what, text=f"{named} reached; {state}")


def _file_found(what: str, url: URL, where: str) -> Finding | None:
    """A file that is not there, or never will be; None: it is there."""
    if not url.database or url.database == ":memory:":
        text = f"{url.render_as_string()}: in memory, so nothing outlives the worker. Expected: sqlite:///FILE."
        return Finding(state="mend", what=what, text=text, where=where)
    path = Path(url.database)
    if path.is_file():
        return None
    folder = path.parent
    if not folder.is_dir():
        return Finding(state="mend", what=what, text=f"{path}: there is no folder {folder}. Make it, or mend store.url.", where=where)
    if not os.access(folder, os.W_OK):
        return Finding(state="mend", what=what, text=f"{path}: nothing may be made in {folder}. Allow it to this user, or mend store.url.", where=where)
    return Finding(state="ok", what=what, text=f"{path} is not there yet, and will be made")


def port_found(http: Http, places: Places) -> Finding:
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
        return Finding(state="mend", what=what, text=text, where=places.of("http", "port"))
    return Finding(state="ok", what=what, text=f"{http.host}:{http.port} is free")
