"""What `naturalist doctor` looks at: what a run needs, and what earlier runs left running."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from agent.terminal import CONFIGURATION, RESOURCES
from tools.locator import ModelFiles, ModelLocator
from tools.worker_client import find_orphan

Finding = tuple[str, str, int]
"""(ok | note | FAULT, one line, exit code of a fault)"""
OLDEST_TORCH = (2, 6)
"""Older versions execute pickled code in `weights_only` loads (CVE-2025-32434)."""
NEEDED_MB = 200
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
CASES = Path(__file__).parent.parent / "evals" / "cases"


def findings_of(runs: Path) -> Iterator[Finding]:
    """Yield one line for everything checked."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield (
        ("ok", f"Python {version}", 0)
        if sys.version_info >= (3, 11)
        else (
            "FAULT",
            f"Python {version} is too old; 3.11 or newer is needed",
            CONFIGURATION,
        )
    )
    yield torch_finding()
    yield disk_finding(runs)
    yield from key_findings()
    yield from model_findings()
    yield from orphan_findings(runs)


def torch_finding() -> Finding:
    """Check that torch is there and new enough, without importing it."""
    if importlib.util.find_spec("torch") is None:
        return ("FAULT", "torch is not installed; see the README's set-up", CONFIGURATION)
    version = metadata.version("torch")
    if tuple(int(part) for part in version.split("+")[0].split(".")[:2]) < OLDEST_TORCH:
        return (
            "FAULT",
            f"torch {version} is older than 2.6; install the version in the lock file",
            CONFIGURATION,
        )
    return ("ok", f"torch {version}", 0)


def disk_finding(runs: Path) -> Finding:
    """Check that a run can be written."""
    if runs.exists() and not runs.is_dir():
        return ("FAULT", f"{runs} is no folder; use another --runs", RESOURCES)
    parent = next(each for each in (runs.resolve(), *runs.resolve().parents) if each.exists())
    free = shutil.disk_usage(parent).free / 2**20
    if not os.access(parent, os.W_OK):
        return ("FAULT", f"{parent} cannot be written; use --runs", RESOURCES)
    if free < NEEDED_MB:
        return ("FAULT", f"{free:.0f} MB free under {parent}; a run needs {NEEDED_MB}", RESOURCES)
    return ("ok", f"{free / 1024:.1f} GB free for runs", 0)


def key_findings() -> Iterator[Finding]:
    """Say which API keys are set; none is needed for the systematic investigator."""
    for name in KEYS:
        if os.environ.get(name):
            yield ("ok", f"{name} is set", 0)
        else:
            yield ("note", f"{name} is not set; only language models behind an API need it", 0)


def model_findings() -> Iterator[Finding]:
    """Check the files of every model that the shipped cases name: present, safetensors, no code."""
    from agent.case import CaseError, load_case
    from agent.engines import api_name
    from tools.faults import SubjectRefused

    seen: set[ModelLocator] = set()
    for path in sorted(CASES.glob("*.toml")):
        try:
            case = load_case(path)
        except CaseError as error:
            yield ("FAULT", str(error).splitlines()[0], CONFIGURATION)
            continue
        for locator in filter(None, (case.subject, case.reference)):
            if api_name(locator) is not None:
                yield (
                    "note",
                    f"{path.name}: behind an API; nothing to check before it is asked",
                    0,
                )
                continue
            plain = locator.model_copy(update={"chat_template_arguments": {}})
            if str(plain) in {str(each) for each in seen}:
                continue
            try:
                ModelFiles(locator)
                yield (
                    "ok",
                    f"{path.name}: {Path(locator.adapter or locator.model).name} can be loaded",
                    0,
                )
            except SubjectRefused as error:
                yield ("FAULT", f"{path.name}: {error}", CONFIGURATION)


def orphan_findings(runs: Path) -> Iterator[Finding]:
    """Find workers of earlier runs that still run although their parent is gone."""
    found = False
    for folder in sorted(runs.glob("*/worker.pid")):
        orphan = find_orphan(folder.parent)
        if orphan is not None:
            found = True
            yield (
                "FAULT",
                f"an orphan worker of {folder.parent} runs as process {orphan}; kill {orphan}",
                RESOURCES,
            )
    if not found:
        yield ("ok", "no orphan worker", 0)
