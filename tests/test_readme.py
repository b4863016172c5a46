"""What the README shows works: the ten lines that add a tool, the commands it names, the make targets."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from naturalist import app
from tools.blobs import BlobStore
from tools.experiment import Context, run_experiment
from tools.registry import Tool

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def readme_tool(tmp_path: Path) -> Tool:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code, "the README shows no tool"
    path = tmp_path / "readme_tool.py"
    path.write_text(code[1], encoding="utf-8")
    names: dict[str, Any] = {"__name__": "readme_tool"}
    exec(compile(code[1], str(path), "exec"), names)
    return names["count_tokens"]


def test_the_ten_lines_make_a_tool_that_runs(readme_tool: Tool, tmp_path: Path) -> None:
    subject = SimpleNamespace(
        tokenizer=lambda text: SimpleNamespace(input_ids=text.split()), digests={"subject": "0"}
    )
    done = run_experiment(
        [readme_tool], "count_tokens", subject, {"text": "one two three"}, context(tmp_path)
    )
    assert done.result == {"tokens": 3}
    wrong = run_experiment(
        [readme_tool], "count_tokens", subject, {"txt": "one"}, context(tmp_path)
    )
    assert wrong.error is not None and "did you mean 'text'" in wrong.error


def test_the_tool_is_about_ten_lines_long() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    lines = [
        line
        for line in code[1].splitlines()
        if line.strip() and not line.startswith(("from", "import"))
    ]
    assert len(lines) <= 10


def test_the_commands_that_the_readme_names_exist() -> None:
    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }
    named = set(
        re.findall(
            r"naturalist (investigate|resume|report|verify|rerun|tools|call|doctor)\b", README
        )
    )
    assert named and named <= known
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert set(re.findall(r"`make ([a-z]+)", README)) <= targets


def context(folder: Path) -> Context:
    return Context(seed=0, blobs=BlobStore(folder))
