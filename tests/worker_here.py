"""A worker started as the command line starts one, but in this process: for tests of what stands around it.

That a worker of its own process answers the same, and dies and starts again, is shown in test_worker.py and
test_resume.py; a start of Python and its imports costs seconds.
"""

from __future__ import annotations

import functools
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.boundary import DEFAULT_CATALOGUE, Catalogue, WorkerRefused, load_tools, one_line
from tools.faults import SubjectRefused
from tools.registry import ToolError
from tools.remote import OnProgress
from tools.worker import load_subject
from tools.worker_client import InProcessWorker


class WorkerHere(InProcessWorker):
    """Takes what `ProcessWorker` takes; loads and refuses at the same moment, in the same words."""

    def __init__(
        self,
        subject: Mapping[str, Any] | None,
        reference: Mapping[str, Any] | None,
        blobs: Path,
        on_progress: OnProgress | None = None,
        synthetic: Path | None = None,
        *,
        catalogue: Sequence[str] = (DEFAULT_CATALOGUE,),
        folder: Path | None = None,
    ) -> None:
        del folder
        # What travels to a process is text.
        texts = [each and json.dumps(dict(each)) for each in (subject, reference)]
        self.options = Namespace(synthetic=synthetic, subject=texts[0], reference=texts[1])
        self.named, self.place = catalogue, blobs
        self.on_progress = on_progress or (lambda fraction, note: None)
        self.judge = None

    @functools.cached_property
    def catalogue(self) -> Catalogue:  # pyright: ignore[reportIncompatibleVariableOverride]
        kind, judge = "catalogue", self.judge
        try:
            tools, code = load_tools(self.named)
            kind = "subject"
            subject = load_subject(self.options)
        except (ToolError, SubjectRefused) as error:
            raise WorkerRefused(kind, one_line(error)) from None
        super().__init__(subject, tools, self.place, self.on_progress)
        self.judge = judge
        return self.catalogue.model_copy(update={"code": code})

    def call(self, *given: Any, **more: Any) -> Any:
        code = self.catalogue.code
        return super().call(*given, **more).model_copy(update={"code": code})
