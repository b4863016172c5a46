"""How fast the engine is: `make bench`, or `python -m evals.engine_benchmark --rounds 9`.

Each operation is timed three ways side by side in one process: the floor (as many rows through the
bare Hugging Face model), the engine, and the naive loop (one prompt, patch or direction at a time,
plain hooks). The order is shuffled in every round, and a ratio is the median over rounds of CPU time
over the floor's CPU time in the same round, so that a busy machine does not favour anyone. One thread.
"""

from __future__ import annotations

import argparse
import logging
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tools.architecture import Site
from tools.blobs import BlobStore
from tools.directed_runs import Asking, DirectedRuns
from tools.edits import Edit
from tools.experiment import Context
from tools.locator import ModelLocator
from tools.measures import LogprobDifference
from tools.patch_sweep import patch_sweep
from tools.prompt import Prompt
from tools.scoring import items_from
from tools.subject import SubjectModel

VOCABULARY = 2048


@dataclass(frozen=True)
class Size:
    """A random Llama, and how much of each operation is timed on it."""

    name: str
    hidden: int
    layers: int
    prompts: int
    tokens: int
    """Tokens of a prompt."""
    patched: int
    """Positions patched at every layer."""
    new_tokens: int
    directions: int


SIZES = (
    Size("5 M", 256, 6, 16, 24, 16, 12, 64),
    Size("100 M", 704, 16, 4, 12, 3, 6, 32),
)
AIMS = {"capture of all layers": 1.15, "patching sweep": 0.5, "steering during generation": 1.1}


@dataclass(frozen=True)
class Operation:
    """One thing to do, three ways."""

    name: str
    floor: Callable[[], object]
    engine: Callable[[], object]
    naive: Callable[[], object]


def build(size: Size, folder: Path) -> SubjectModel:
    """Write a random Llama whose words are w0, w1, ... and load it as any subject."""
    words = {f"w{k}": k for k in range(VOCABULARY - 1)} | {"<unk>": VOCABULARY - 1}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=round(8 / 3 * size.hidden),
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 32,
        num_key_value_heads=size.hidden // 32,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return SubjectModel.load(ModelLocator(model=str(folder)))


class Bench:
    """The operations on one model."""

    def __init__(self, model: SubjectModel, size: Size, context: Context) -> None:
        rng = random.Random(0)
        self.model, self.size, self.context = model, size, context
        self.network: Any = model.weights.network
        self.layers: Any = model.weights.anatomy.layers
        texts = [
            " ".join(f"w{rng.randrange(VOCABULARY - 1)}" for _ in range(size.tokens))
            for _ in range(size.prompts)
        ]
        self.prompts = [Prompt(prefill=text, continue_as="raw") for text in texts]
        self.ids = torch.tensor([model.encode(prompt) for prompt in self.prompts])
        # Every answer runs to its full length, in all three ways.
        model.stops = frozenset()
        generator = torch.Generator().manual_seed(0)
        self.vectors = torch.randn(size.directions, size.hidden, generator=generator)
        self.middle = size.layers // 2

    def operations(self) -> list[Operation]:
        """Return what is timed."""
        size = self.size
        sites = [Site(layer) for layer in range(size.layers)]
        pair = self.ids[:2].tolist()
        places = list(range(-size.patched, 0))
        patches = [(layer, place) for layer in range(size.layers) for place in places]
        measure = LogprobDifference(positive=("w1",), negative=("w2",))
        runs = DirectedRuns(
            self.model, items_from(self.prompts[:1]), Asking(measure), self.context, "add", [Site(self.middle)]
        )  # fmt: skip
        push = Edit(Site(self.middle), "add", self.vectors[0])
        return [
            Operation(
                "capture of all layers",
                lambda: self.forward(self.ids),
                lambda: self.model.capture_ids(self.ids.tolist(), sites),
                lambda: [self.hooked_capture(row) for row in self.ids],
            ),
            Operation(
                "patching sweep",
                lambda: self.rows(self.ids[1], len(patches)),
                lambda: patch_sweep(self.model, pair[:1], pair[1:], sites, places, [[1, 2]]),
                lambda: self.hooked_patches(self.ids[0], self.ids[1], patches),
            ),
            Operation(
                "one prompt under many directions",
                lambda: self.rows(self.ids[0], len(self.vectors)),
                lambda: runs.scores(self.vectors),
                lambda: [self.pushed(self.ids[0], vector) for vector in self.vectors],
            ),
            Operation(
                "plain sampling",
                lambda: self.generate(self.ids),
                lambda: self.sample(()),
                lambda: [self.generate(row[None]) for row in self.ids],
            ),
            Operation(
                "steering during generation",
                lambda: self.generate(self.ids),
                lambda: self.sample((push,)),
                lambda: [self.hooked_generate(row[None], self.vectors[0]) for row in self.ids],
            ),
        ]

    def forward(self, ids: Tensor) -> Tensor:
        """Run rows through the bare model, last logits only."""
        return self.network(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]

    def rows(self, ids: Tensor, count: int) -> list[Tensor]:
        """Run as many copies of one row, in the engine's batches."""
        step = self.model.batches.size
        many = ids.expand(count, -1)
        return [self.forward(many[first : first + step]) for first in range(0, count, step)]

    def hooked(self, layer: int, hook: Callable[..., Any], work: Callable[[], Tensor]) -> Tensor:
        """Do something under one plain hook."""
        handle = self.layers[layer].register_forward_hook(hook)
        try:
            return work()
        finally:
            handle.remove()

    def hooked_capture(self, row: Tensor) -> list[Tensor]:
        """Capture all layers of one prompt."""
        kept: list[Tensor] = []
        handles = [
            layer.register_forward_hook(lambda _m, _a, output: kept.append(output.clone()))
            for layer in self.layers
        ]
        self.forward(row[None])
        for handle in handles:
            handle.remove()
        return kept

    def hooked_patches(
        self, clean: Tensor, corrupted: Tensor, patches: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Patch one activation at a time."""
        kept = self.hooked_capture(clean)

        def patch(layer: int, place: int) -> Tensor:
            def write(_: Any, args: Any, output: Tensor) -> None:
                output[:, place] = kept[layer][:, place]

            return self.hooked(layer, write, lambda: self.forward(corrupted[None]))

        return [patch(layer, place) for layer, place in patches]

    def pushed(self, row: Tensor, vector: Tensor) -> Tensor:
        """Run one prompt under one direction."""
        return self.hooked(
            self.middle, lambda _m, _a, output: output + vector, lambda: self.forward(row[None])
        )

    def generate(self, ids: Tensor) -> Tensor:
        """Sample with the bare model's own loop."""
        count = self.size.new_tokens
        return self.network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            max_new_tokens=count,
            min_new_tokens=count,
            pad_token_id=0,
        )

    def hooked_generate(self, ids: Tensor, vector: Tensor) -> Tensor:
        """Sample one prompt under one direction."""
        return self.hooked(
            self.middle, lambda _m, _a, output: output + vector, lambda: self.generate(ids)
        )

    def sample(self, edits: Sequence[Edit]) -> object:
        """Sample all prompts with the engine."""
        keys = [str(k) for k in range(len(self.prompts))]
        return self.model.generate(
            self.prompts, keys, seed=0, max_new_tokens=self.size.new_tokens, edits=edits
        )


def measured(operation: Operation, rounds: int, rng: random.Random) -> tuple[float, float, float]:
    """Return the floor's median milliseconds, and the median ratios of engine and naive loop to it."""
    arms = {"floor": operation.floor, "engine": operation.engine, "naive": operation.naive}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 1):
        for name in rng.sample(list(arms), len(arms)):
            started = time.process_time()
            with torch.inference_mode():
                arms[name]()
            # The first round warms caches up and is not counted.
            if turn:
                seconds[name].append(time.process_time() - started)
    floor = seconds["floor"]
    ratios = {
        name: statistics.median(each / base for each, base in zip(found, floor, strict=True))
        for name, found in seconds.items()
    }
    return 1000 * statistics.median(floor), ratios["engine"], ratios["naive"]


def machine() -> str:
    """Return what the figures were measured on, in one line."""
    processor = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        lines = listed.read_text().splitlines()
        named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        processor = next(named, processor)
    return (
        f"{processor}, {platform.system()}, one thread, float32; Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each operation")
    parser.add_argument("--only", choices=[size.name for size in SIZES], help="one model only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    rng = random.Random(0)
    put = sys.stdout.write
    put(f"Medians of {options.rounds} rounds on {machine()}.\n\n")
    put("| model | operation | floor, ms | engine / floor | aim | naive loop / floor |\n")
    put("|---|---|---|---|---|---|\n")
    for size in SIZES:
        if options.only not in (None, size.name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            context = Context(0, BlobStore(Path(folder) / "blobs"))
            bench = Bench(build(size, Path(folder) / "model"), size, context)
            for operation in bench.operations():
                floor, engine, naive = measured(operation, options.rounds, rng)
                aim = AIMS.get(operation.name)
                put(
                    f"| {size.name} | {operation.name} | {floor:.0f} | {engine:.2f} | "
                    f"{aim if aim else ''} | {naive:.2f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
