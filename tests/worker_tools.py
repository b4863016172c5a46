"""Tools that misbehave, for the worker's tests: given to it as a researcher's own file of tools."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from tools.experiment import Context
from tools.faults import NonFinite
from tools.judging import Asked, needs_judges
from tools.measures import JudgedMeasure
from tools.prompt import user_prompt
from tools.registry import Record, ToolError, tool


class Text(Record):
    text: str


class Seconds(Record):
    seconds: float
    note: str = ""


class Place(Record):
    path: str = ""


class Fault(Record):
    kind: Literal["mistake", "memory", "disk", "nan", "bug", "poison", "unserializable"]


class Anything(Record):
    value: Any


class Ask(Record):
    prompt: str
    samples: int = 1


class Answers(Record):
    texts: tuple[str, ...]
    worker: int


class ToJudge(Record):
    texts: tuple[str, ...]
    seconds: float = 0.0


class Labels(Record):
    judges: tuple[str, ...]
    labels: tuple[tuple[int | None, ...], ...]


MEASURE = JudgedMeasure(question="Does the answer say yes?")


@tool
def echo(subject: Any, args: Text, context: Context) -> Text:
    """Return the text."""
    return Text(text=args.text)


@tool
def ask(subject: Any, args: Ask, context: Context) -> Answers:
    """Sample the subject."""
    rows = subject.generate(
        [user_prompt(args.prompt)], ["item"], seed=context.seed, samples=args.samples
    )
    return Answers(texts=tuple(answer.text for answer in rows[0]), worker=os.getpid())


@tool
def sleep(subject: Any, args: Seconds, context: Context) -> Seconds:
    """Report half the way, then sleep."""
    context.progress(0.5, args.note)
    time.sleep(args.seconds)
    return args


@tool
def hold_interpreter(subject: Any, args: Seconds, context: Context) -> Seconds:
    """Match for ever without letting another thread run."""
    re.fullmatch(r"(a+)+b", "a" * 64)
    return args


@tool
def have_judged(subject: Any, args: ToJudge, context: Context) -> Labels:
    """Have texts judged, then sleep."""
    needs_judges(MEASURE, context.judge)
    assert context.judge is not None
    asked = [Asked(question=MEASURE.question, prompt=None, output=text) for text in args.texts]
    found = context.judge(asked)
    time.sleep(args.seconds)
    return Labels(judges=found.judges, labels=found.labels)


@tool
def freeze(subject: Any, args: Seconds, context: Context) -> Seconds:
    """Stop the whole process, its heartbeat and its own watchdog too."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return args


@tool
def die(subject: Any, args: Place, context: Context) -> Text:
    """Be killed; where a path is given, only if that file is not there yet."""
    if args.path and Path(args.path).exists():
        return Text(text="alive")
    if args.path:
        Path(args.path).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


@tool
def leave_child_and_die(subject: Any, args: Place, context: Context) -> Text:
    """Be killed while a forked child holds every descriptor open."""
    if Path(args.path).exists():
        return Text(text="alive")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    Path(args.path).write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


@tool
def make_noise(subject: Any, args: Text, context: Context) -> Text:
    """Write to stdout in all the ways a library can."""
    sys.stdout.write(args.text * 1000)
    sys.stdout.flush()
    os.write(1, b"\x00\x00\x00\x02{}" * 1000)
    subprocess.run(["echo", args.text], check=True)
    return Text(text="quiet")


@tool
def list_descriptors(subject: Any, args: Place, context: Context) -> Answers:
    """Return what each open descriptor points to."""
    found: list[str] = []
    for entry in sorted(Path("/proc/self/fd").iterdir(), key=lambda each: int(each.name)):
        try:
            found.append(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue  # the listing's own
    return Answers(texts=tuple(found), worker=os.getpid())


@tool
def fail(subject: Any, args: Fault, context: Context) -> Anything:
    """Fail in the way asked for."""
    faults: dict[str, Exception] = {
        "mistake": ToolError("layer 9 is out of range (0 to 3)"),
        "memory": MemoryError(),
        "disk": OSError(errno.ENOSPC, "No space left on device", "/secret/place"),
        "nan": NonFinite("NaN in the logits after layer 3"),
        "bug": KeyError("forgotten"),
        "poison": RuntimeError("CUDA error: device-side assert triggered"),
    }
    if args.kind == "unserializable":
        return Anything(value=object())
    raise faults[args.kind]


TOOLS = (
    echo,
    ask,
    sleep,
    hold_interpreter,
    have_judged,
    freeze,
    die,
    leave_child_and_die,
    make_noise,
    list_descriptors,
    fail,
)
