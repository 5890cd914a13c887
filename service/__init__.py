"""Topics in, topics and the database out, for as long as the process lives. Never decides anything that a stage decides."""

from rollguard.service.changes import records_of
from rollguard.service.commands import signed
from rollguard.service.desk_work import DeskWork, DeskWorks
from rollguard.service.detect_work import DetectStage, DetectWork, DetectWorks
from rollguard.service.ingest_work import IngestWork, IngestWorks
from rollguard.service.logs import set_up_logs
from rollguard.service.present import lateness_of
from rollguard.service.respond import pagers_of
from rollguard.service.worker import Part, open_store, run_worker, tune_memory

__all__ = [
    "DeskWork",
    "DeskWorks",
    "DetectStage",
    "DetectWork",
    "DetectWorks",
    "IngestWork",
    "IngestWorks",
    "Part",
    "lateness_of",
    "open_store",
    "pagers_of",
    "records_of",
    "run_worker",
    "set_up_logs",
    "signed",
    "tune_memory",
]
