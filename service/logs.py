"""Logs of the worker: an event and its keys, on standard error; a person's terminal gets colours, everything else JSON. No secret is ever in one."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

import structlog

from rollguard.responders import Mask
from rollguard.streams.kafka import found_secrets, quiet_client_logs

__all__ = ["set_up_logs"]

Level = Literal["debug", "info", "warning", "error"]


class _Masked:
    """Takes every secret that was found out of whatever a line holds: values, texts of exceptions, what libraries log."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._mask = Mask()

    def __call__(self, logger: Any, name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:  # noqa: ARG002 - as structlog calls it
        known = found_secrets()
        if known != self._known:
            self._known, self._mask = known, Mask(*known)
        return {key: self._plain(value) for key, value in line.items()}

    def _plain(self, value: object) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return self._mask(value)
            case bytes():
                return self._mask(value.decode("utf-8", "replace"))
            case Mapping():
                return {self._mask(str(key)): self._plain(each) for key, each in value.items()}
            case Sequence() | set() | frozenset():
                return [self._plain(each) for each in value]
        return self._mask(str(value))


def set_up_logs(form: Literal["auto", "json", "text"] = "auto", level: Level = "info") -> None:
    """Send what shells log, what libraries do, and what nobody catches to standard error in one form.

    Parameters
    ----------
    form : {"auto", "json", "text"}
        Auto: text on a terminal, else JSON.
    level : {"debug", "info", "warning", "error"}
        Lines below it are left out.
    """
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    # Exceptions become text before secrets are taken out, and nothing becomes text behind that but what is rendered.
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _Masked(),
        renderer,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(number)
    for noisy in ("alembic", "asyncio", "faust", "httpx", "mode", "urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    quiet_client_logs()
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what nobody caught, which Python would print as it is."""
    structlog.get_logger("rollguard").critical("uncaught", exc_info=(kind, error, trace))
