"""The house rules that a program can check: import direction, who may import what, file length, the README's tree."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("tools", "agent", "evals")
ORGANISM_FOLDERS = (
    ("world",),
    ("curriculum",),
    ("families",),
    ("case_files", "gates", "training"),
)
"""Of evals/organisms, those that import least first; those of one line do not import each other."""
LONGEST = 400
ALLOWED_ROOT = {
    "README.md", "LICENSE", "Makefile", "naturalist.py", "pyproject.toml", "requirements.lock", ".gitignore", ".ci",
    "agent", "tools", "evals", "prompts", "runs", "tests",
}  # fmt: skip
MODEL_LIBRARIES = {
    "torch",
    "transformers",
    "peft",
    "nnsight",
    "sklearn",
    "tokenizers",
    "accelerate",
}
LLM_LIBRARIES = {"anthropic", "openai", "tenacity"}
INSPECT_LOGS = "agent/doors/inspect_log.py"
"""Writes models' messages and asks no model."""
FORBIDDEN_NAMES = {"utils", "core", "common", "helpers", "manager"}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@functools.cache
def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    above = ROOMS[ROOMS.index(room) + 1 :]
    for path in sources(room):
        for name in imported(path):
            assert name.split(".")[0] not in above, (
                f"{path.relative_to(ROOT)} imports {name}, a room above it"
            )


def test_folders_of_organisms_import_one_way() -> None:
    room = "evals.organisms"
    seen: set[str] = set()
    for level in ORGANISM_FOLDERS:
        for folder in level:
            allowed = {f"{room}.{name}" for name in {*seen, folder}}
            for path in sources(f"evals/organisms/{folder}"):
                for name in imported(path):
                    inside = name == room or name.startswith(f"{room}.")
                    assert not inside or ".".join(name.split(".")[:3]) in allowed, (
                        f"{path.relative_to(ROOT)} imports {name}, a folder beside or above it"
                    )
        seen |= set(level)
    assert seen == {path.parent.name for path in (ROOT / "evals/organisms").glob("*/*.py")}


def test_model_libraries_stay_in_the_rooms_of_models() -> None:
    for room in ROOMS:
        for path in sources(room):
            inside = path.relative_to(ROOT).as_posix()
            if (
                room == "tools"
                or inside.startswith("evals/organisms/")
                or inside == "evals/engine_benchmark.py"
            ):
                continue
            strange = {name.split(".")[0] for name in imported(path)} & MODEL_LIBRARIES
            assert not strange, f"{inside} imports {strange}"


def test_llm_sdks_stay_in_their_room() -> None:
    for room in ROOMS:
        for path in sources(room):
            inside = path.relative_to(ROOT).as_posix()
            if not inside.startswith("agent/llm/"):
                strange = {name.split(".")[0] for name in imported(path)} & LLM_LIBRARIES
                assert not strange, f"{inside} imports {strange}"
                if inside != INSPECT_LOGS:
                    assert "inspect_ai.model" not in imported(path), f"{inside} asks models"


def test_libraries_for_other_tools_stay_behind_their_doors() -> None:
    doors = {
        "mcp": {"agent/doors/mcp_server.py"},
        "mcp_types": {"agent/doors/mcp_server.py"},
        "inspect_ai": {
            "agent/doors/inspect_log.py",
            "agent/llm/inspect_model.py",
            "evals/bench/inspect_task.py",
        },
        "pandas": {"agent/doors/item_frames.py", "agent/notebook.py"},
        "PIL": {"agent/doors/sweep_picture.py"},
    }
    for room in ROOMS:
        for path in sources(room):
            inside = path.relative_to(ROOT).as_posix()
            for name in {name.split(".")[0] for name in imported(path)} & set(doors):
                assert inside in doors[name], f"{inside} imports {name}"


def test_the_head_never_loads_torch() -> None:
    rooms = "naturalist, agent.session, agent.commands, agent.verify, agent.doors.mcp_server, agent.notebook, "
    rooms += "evals.bench.sitting, evals.bench.page"
    code = f"import {rooms}, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_the_rooms_are_those_of_this_checkout() -> None:
    code = "import agent, tools, evals; print(agent.__file__, tools.__file__, evals.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in done.stdout.split():
        assert Path(name).is_relative_to(ROOT), f"another package shadows this checkout: {name}"


@pytest.mark.parametrize("path", [p for room in (*ROOMS, "tests") for p in sources(room)], ids=str)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_names_say_what_lives_there() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            assert path.stem not in FORBIDDEN_NAMES, path


def test_the_top_level_holds_what_it_should() -> None:
    assert {name.split("/")[0] for name in tracked()} <= ALLOWED_ROOT


def test_the_file_tree_of_the_readme_is_true() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed: set[str] = set()
    for room in ROOMS:
        block = re.search(rf"^{room}/.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert block, f"the README's tree lacks {room}/"
        listed |= {
            f"{room}/{name}" for name in re.findall(r"^  (\S+\.py)\s+\S", block[0], re.MULTILINE)
        }
    real = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in sources(room)
        if path.name != "__init__.py"
    }
    assert listed == real, f"missing: {sorted(real - listed)}; gone: {sorted(listed - real)}"


def test_weights_are_safetensors_and_nothing_names_this_machine() -> None:
    for name in tracked():
        assert not re.search(r"\.(pt|pth|bin|pkl|ckpt|npz)$", name), name
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".j2", ".txt") and path.name != "test_layout.py":
            assert "/work" + "/main" not in path.read_text(encoding="utf-8"), name
