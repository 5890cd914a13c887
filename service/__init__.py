"""Topics in, topics and the database out, for as long as the process lives. Never decides anything that a stage decides."""

from rollguard.service.changes import change_signer, records_of
from rollguard.service.commands import checked_key, signed
from rollguard.service.desk_work import DeskWork, DeskWorks
from rollguard.service.detect_work import DetectStage, DetectWork, DetectWorks
from rollguard.service.gating import ask_gate
from rollguard.service.ingest_work import IngestWork, IngestWorks
from rollguard.service.intake import channels_of
from rollguard.service.logs import set_up_logs
from rollguard.service.present import lateness_of
from rollguard.service.refill import Backfilled, Plan, backfill, plan_backfill
from rollguard.service.respond import pager_of, pagers_of, target_of
from rollguard.service.stages import now_ms
from rollguard.service.sweeping import cutoffs_of, swept
from rollguard.service.worker import Part, open_store, run_worker, tune_memory

__all__ = [
    "Backfilled",
    "DeskWork",
    "DeskWorks",
    "DetectStage",
    "DetectWork",
    "DetectWorks",
    "IngestWork",
    "IngestWorks",
    "Part",
    "Plan",
    "ask_gate",
    "backfill",
    "change_signer",
    "channels_of",
    "checked_key",
    "cutoffs_of",
    "lateness_of",
    "now_ms",
    "open_store",
    "pager_of",
    "pagers_of",
    "plan_backfill",
    "records_of",
    "run_worker",
    "set_up_logs",
    "signed",
    "swept",
    "target_of",
    "tune_memory",
]
