"""What a model runs on, as far as it decides how its numbers are rounded.

Where all of it is the same, code and weights too, the same call gives the same numbers to the last bit.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

CPU_INFO = Path("/proc/cpuinfo")


def machine_of(network: Any, device: torch.device) -> dict[str, str]:
    """Return processor, threads, precision and library versions of a model that is loaded on a device."""
    found = {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "precision": str(network.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
    }
    if device.type == "cuda":
        found["accelerator"] = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    elif device.type != "cpu":
        found["accelerator"] = device.type
    return found


def processor() -> str:
    """Return the processor's model, or its kind where the system does not say more."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
