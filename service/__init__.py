"""Topics in, topics and the database out, for as long as the process lives. Never decides anything that a stage decides."""

from rollguard.service.changes import change_signer, records_of
from rollguard.service.commands import checked_key, signed
from rollguard.service.desk_work import DeskWork, DeskWorks
from rollguard.service.detect_work import DetectStage, DetectWork, DetectWorks
from rollguard.service.gating import ask_gate
from rollguard.service.ingest_work import IngestWork, IngestWorks
from rollguard.service.logs import set_up_logs
from rollguard.service.present import lateness_of
from rollguard.service.respond import pager_of, pagers_of, target_of
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
    "ask_gate",
    "change_signer",
    "checked_key",
    "lateness_of",
    "open_store",
    "pager_of",
    "pagers_of",
    "records_of",
    "run_worker",
    "set_up_logs",
    "signed",
    "target_of",
    "tune_memory",
]
