import beartype  # noqa: F401  # isort: skip  # must precede nnsight, whose import it cannot follow

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plain_models import Plain
    from tools.subject import SubjectModel

# Written out, and models are imported by the fixtures only: most tests need no torch.
FAMILIES = ("llama", "qwen3", "gemma2", "gemma3", "gpt2", "gpt_neox", "mistral", "phi3", "olmo2")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `family` on each, unless it names its own."""
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "family" in metafunc.fixturenames and "family" not in own:
        metafunc.parametrize("family", FAMILIES)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Let nothing in this process wait for the disk: only a power cut could tell, and no test makes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def workers_here() -> Iterator[None]:
    """Start the workers of commands and sittings in this process."""
    from tests.worker_here import WorkerHere

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.session.ProcessWorker", WorkerHere)
        yield


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., Any]:
    from tests.plain_models import tiny_tokenizer

    return tiny_tokenizer


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    from tests.plain_models import save_model

    return save_model


@pytest.fixture(scope="session")
def model_folders(
    make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that gives the folder of a random model of a family, made once."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = make_model(tmp_path_factory.mktemp(family) / "model", family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def adapter_folder(
    model_folders: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a LoRA adapter for the random Llama."""
    from tests.plain_models import save_adapter

    return save_adapter(model_folders("llama"), tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="session")
def subjects(model_folders: Callable[[str], Path]) -> "Callable[[str], SubjectModel]":
    """Return a function that gives the subject of a family, loaded once."""
    from tools.locator import ModelLocator
    from tools.subject import SubjectModel

    loaded: dict[str, SubjectModel] = {}

    def get(family: str) -> SubjectModel:
        if family not in loaded:
            loaded[family] = SubjectModel.load(ModelLocator(model=str(model_folders(family))))
        loaded[family].batches.size = 32
        return loaded[family]

    return get


@pytest.fixture(scope="session")
def plains(model_folders: Callable[[str], Path]) -> "Callable[[str], Plain]":
    """Return a function that gives the plain model of a family, loaded once."""
    from tests.plain_models import plain_model

    loaded: dict[str, Plain] = {}

    def get(family: str) -> "Plain":
        if family not in loaded:
            loaded[family] = plain_model(model_folders(family), family)
        return loaded[family]

    return get
