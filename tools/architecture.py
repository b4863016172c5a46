"""Where the residual stream lies in a Hugging Face decoder, found by name and proved by numbers.

Names differ by family; what they mean is checked on every model as it is loaded: the outputs of the
layers are the hidden states that the model itself reports, the lens on the last one gives the
model's logits, and what attention and MLP write adds up to the layer's step.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from tools.faults import SubjectRefused
from tools.registry import ToolError

SiteKind = Literal["resid_pre", "resid_post", "attn_out", "mlp_out"]
# In the order in which a layer reaches them: nnsight reads in execution order only.
KINDS: tuple[SiteKind, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")

LAYERS = (
    "model.layers",
    "transformer.h",
    "gpt_neox.layers",
    "model.decoder.layers",
    "model.language_model.layers",
    "transformer.blocks",
    "backbone.layers",
)
NORMS = (
    "model.norm",
    "transformer.ln_f",
    "gpt_neox.final_layer_norm",
    "model.decoder.final_layer_norm",
    "model.language_model.norm",
    "model.final_layernorm",
    "transformer.norm_f",
    "backbone.norm_f",
)
# A norm behind the block (Gemma 2 and 3, OLMo 2) stands last before the residual stream: it wins.
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "linear_attn")
FEED_FORWARD = ("mlp", "block_sparse_moe", "feed_forward", "ffn")
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class Site(NamedTuple):
    """A place in the model: `resid_pre` and `resid_post` of a layer, or what its two halves add."""

    layer: int
    kind: SiteKind = "resid_post"


def first_tensor(value: Any) -> Tensor:
    """Return the hidden states of a module's output, which some families wrap in a tuple."""
    return value[0] if isinstance(value, tuple) else value


class Anatomy:
    """The parts of a decoder, by path."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.layers_path = find_path(network, LAYERS, "layers")
        self.norm = network.get_submodule(find_path(network, NORMS, "final norm"))
        self.head = network.get_output_embeddings()
        if self.head is None:
            raise SubjectRefused(f"{type(network).__name__} has no unembedding; not a causal LM")
        self.layers: Any = network.get_submodule(self.layers_path)
        text = network.config.get_text_config()
        self.n_layers = len(self.layers)
        self.d_model = int(text.hidden_size)
        self.soft_cap: float | None = getattr(text, "final_logit_softcapping", None)
        self.logit_scale = float(getattr(text, "logit_scale", None) or 1.0)
        self.logits_divisor = float(getattr(text, "logits_scaling", None) or 1.0)
        limit = getattr(text, "max_position_embeddings", None)
        self.context_length: int | None = int(limit) if limit else None
        self.additive = True

    def validate(self, site: Site) -> None:
        """Raise `ToolError` for a site that this model lacks."""
        if not 0 <= site.layer < self.n_layers:
            raise ToolError(f"layer {site.layer}; this model has layers 0..{self.n_layers - 1}")
        if site.kind not in KINDS:
            raise ToolError(f"site {site.kind!r}; sites are: {', '.join(KINDS)}")
        if site.kind in ("attn_out", "mlp_out") and not self.additive:
            raise ToolError(
                f"{site.kind} is not available on this architecture: its halves do not add up "
                "to the residual stream; use resid_pre or resid_post"
            )

    def part(self, site: Site) -> tuple[str, bool]:
        """Return the module path of a site, and whether the site is its input."""
        prefix = f"{self.layers_path}.{site.layer}"
        if site.kind.startswith("resid"):
            return prefix, site.kind == "resid_pre"
        layer = self.layers[site.layer]
        names = ATTENTION if site.kind == "attn_out" else FEED_FORWARD
        if hasattr(layer, "post_feedforward_layernorm"):
            behind = "post_attention" if site.kind == "attn_out" else "post_feedforward"
            names = (f"{behind}_layernorm",)
        name = next((name for name in names if hasattr(layer, name)), None)
        if name is None:
            raise ToolError(f"{site.kind} is not available on this architecture")
        return f"{prefix}.{name}", False

    def lens(self, hidden: Tensor) -> Tensor:
        """Return final norm, unembedding and soft cap of residual-stream vectors, as logits."""
        weight = self.head.weight
        logits = self.head(self.norm(hidden.to(weight.device, weight.dtype))).float()
        logits = logits * (self.logit_scale / self.logits_divisor)
        return torch.tanh(logits / self.soft_cap) * self.soft_cap if self.soft_cap else logits

    @torch.inference_mode()
    def check(self) -> None:
        """Prove the parts on a short input, with plain hooks; `SubjectRefused` when they do not hold."""
        seen, out = self._observe()
        scale = TOLERANCE.get(self.head.weight.dtype, 1e-1)
        for layer in range(self.n_layers - 1):
            if not close(seen[Site(layer)], out.hidden_states[layer + 1], scale):
                raise SubjectRefused(
                    f"{type(self.network).__name__}: layer {layer} does not give the model's own "
                    "hidden states; this architecture is not supported"
                )
        if not close(self.lens(seen[Site(self.n_layers - 1)]), out.logits, scale):
            raise SubjectRefused(
                f"{type(self.network).__name__}: norm and unembedding of the last layer do not "
                "give the model's logits; this architecture is not supported"
            )
        self.additive = all(self._adds_up(seen, layer, scale) for layer in range(self.n_layers))

    def _observe(self) -> tuple[dict[Site, Tensor], Any]:
        """Run five tokens with a plain hook on every site that can be found."""
        seen: dict[Site, Tensor] = {}

        def watch(site: Site) -> Any:
            path, is_input = self.part(site)
            module = self.network.get_submodule(path)

            def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                seen[site] = (args[0] if args else kwargs["hidden_states"]).clone()

            def after(_: Any, args: tuple[Any, ...], output: Any) -> None:
                seen[site] = first_tensor(output).clone()

            if is_input:
                return module.register_forward_pre_hook(before, with_kwargs=True)
            return module.register_forward_hook(after)

        handles: list[Any] = []
        try:
            for layer in range(self.n_layers):
                for kind in KINDS:
                    try:
                        handles.append(watch(Site(layer, kind)))
                    except ToolError:
                        self.additive = False
            device = self.network.get_input_embeddings().weight.device
            ids = torch.arange(1, 6, device=device)[None]
            out = self.network(input_ids=ids, output_hidden_states=True, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return seen, out

    def _adds_up(self, seen: dict[Site, Tensor], layer: int, scale: float) -> bool:
        if not self.additive:
            return False
        before, attention, feed_forward, after = (seen[Site(layer, kind)] for kind in KINDS)
        return close(before + attention + feed_forward, after, scale)


def close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Compare within a tolerance that is relative to the size of the wanted values."""
    size = max(1.0, float(wanted.float().abs().max()))
    return bool((found.float() - wanted.float().to(found.device)).abs().max() <= tolerance * size)


def find_path(network: Any, paths: tuple[str, ...], what: str) -> str:
    """Return the first path that exists in the model."""
    for path in paths:
        try:
            network.get_submodule(path)
        except AttributeError:
            continue
        return path
    raise SubjectRefused(f"{type(network).__name__}: cannot find its {what}; not supported")
