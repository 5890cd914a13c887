"""Logs of the worker: an event and its keys, on standard error; a person's terminal gets colours, everything else JSON."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from rollguard.streams.kafka import quiet_client_logs

__all__ = ["set_up_logs"]


def set_up_logs(form: Literal["auto", "json", "text"] = "auto", level: int = logging.INFO) -> None:
    """Send what shells log, and what libraries do, to standard error in one form.

    Parameters
    ----------
    form : {"auto", "json", "text"}
        Auto: text on a terminal, else JSON.
    level : int
        Of `logging`.
    """
    json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "asyncio", "faust", "httpx", "mode", "urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING))
    quiet_client_logs()
