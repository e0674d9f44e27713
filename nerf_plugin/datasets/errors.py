"""The one error of captures that cannot be read."""

from __future__ import annotations

from pathlib import Path

from mapreduce import BadInput


class DatasetError(BadInput):
    """Something is wrong with what the user brought. The message names file, frame and field and says what to do.

    The parts are also there as attributes: `file` (str), `frame` (int index or None), `field` (str or None), `problem`,
    `advice`.
    """

    def __init__(
        self, file: Path | str, problem: str, advice: str, *, frame: int | None = None, field: str | None = None
    ) -> None:
        self.file, self.problem, self.advice, self.frame, self.field = str(file), problem, advice, frame, field
        where = [str(file)]
        if frame is not None:
            where.append(f"frame {frame}")
        if field:
            where.append(field)
        super().__init__(f"{', '.join(where)}: {problem}. {advice}")
