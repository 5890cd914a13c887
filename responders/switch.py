"""The kill switch: read just before each call, and in doubt it is on."""

from __future__ import annotations

from pathlib import Path

from rollguard.store import Store, StoreError

__all__ = ["KillSwitch"]

#: No more of a file is read.
_LONGEST = 64


class KillSwitch:
    """Whether rollbacks may happen, as a file, and the database, say.

    Parameters
    ----------
    store : Store
    path : str or None
        A file that has to say `off`; None: there is none.
    """

    #: Its name among the database's flags.
    FLAG = "kill_switch"

    def __init__(self, store: Store, path: str | None) -> None:
        self.store = store
        self.path = None if path is None else Path(path)

    def why_on(self) -> str:
        """Why no rollback may happen, in a sentence; empty: it may."""
        if self.path is not None and (said := self.why_file(self.path)):
            return said
        try:
            flag = self.store.flag(self.FLAG)
        except StoreError as error:
            return f"the kill switch in the database cannot be read, so it counts as on: {error}"
        return "" if flag is None or flag.value == "off" else "the kill switch is on"

    @staticmethod
    def why_file(path: Path) -> str:
        """Why a file keeps rollbacks from happening; empty: it does not."""
        try:
            with path.open("rb") as file:
                said = file.read(_LONGEST).strip().lower()
        except OSError as error:
            return f"the kill switch {path} cannot be read ({(error.strerror or str(error)).lower()}), so it counts as on"
        return "" if said == b"off" else f"the kill switch {path} is on: it does not say `off`"
