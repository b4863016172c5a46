"""What can go wrong between us and a model, as exceptions that carry no path and no tensor.

ToolError           the investigator's mistake (tools.registry): bad layer, empty prompt
SubjectRefused      the person's mistake or a hostile file: the model is not loaded at all
ResourceFault       the machine or the numbers: the call is an experiment with an error
  OutOfMemory       one row alone does not fit
  NonFinite         NaN or infinity where a number was wanted
"""

from __future__ import annotations


class SubjectRefused(Exception):
    """A model that will not be loaded, in one line: what, why, what to do."""


class ResourceFault(Exception):
    """A call that failed for lack of memory or for numbers that are none."""


class OutOfMemory(ResourceFault):
    """A single row does not fit into memory."""


class NonFinite(ResourceFault):
    """NaN or infinity in logits or activations; never handed on as a value."""
