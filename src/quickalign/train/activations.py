"""Bytes of what a forward pass keeps for the backward pass, and of what the head and a layer need while they work.

Every term is a tensor that autograd saves in transformers' decoder layers (RMS norm, rotary attention, gated
feed-forward), counted once where several operations share it; checked against `saved_tensors_hooks`.
"""

from quickalign.train.demand import Demand
from quickalign.train.scoring.sizes import tile_size

_TRAINED_SLICE = 256
# Which projections read the same input.
_ATTENTION_INPUTS = (("q_proj", "k_proj", "v_proj"), ("o_proj",))
_FEED_FORWARD_INPUTS = (("gate_proj", "up_proj"), ("down_proj",))


def kept_bytes(demand: Demand) -> int:
    """Activations alive at the end of a forward pass, without those of the head; with checkpointing, layers' inputs."""
    positions, shape = demand.micro.positions, demand.shape
    last = positions * _norm_bytes(demand)
    if demand.checkpointing:
        return last + positions * shape.layers * shape.hidden * (4 if demand.full else demand.compute_bytes)
    # Packed, the last layer's feed-forward part sees scored places only.
    fed = positions * shape.layers - (positions - demand.micro.scored if demand.packing else 0)
    return (
        last
        + positions * shape.layers * _attention_part_bytes(demand)
        + fed * _feed_forward_bytes(demand)
        + shape.layers * _layer_copies(demand)
        + _head_copy(demand)
    )


def mask_bytes(demand: Demand) -> int:
    """A dense mask of the packed sequence, which all layers share."""
    return demand.micro.positions**2 * demand.compute_bytes if demand.packing and demand.dense else 0


def working_bytes(demand: Demand) -> int:
    """The most that a layer's own backward pass adds: its gradients, and its activations where they are recomputed."""
    shape, width = demand.shape, demand.compute_bytes
    gradients = demand.micro.positions * (3 * shape.intermediate + 2 * shape.hidden) * width
    again = 0
    if demand.checkpointing:
        layer = _attention_part_bytes(demand) + _feed_forward_bytes(demand)
        again = demand.micro.positions * layer + _layer_copies(demand) + _head_copy(demand)
    return gradients + again + _unpacked_bytes(demand)


def head_bytes(demand: Demand) -> int:
    """The most that the head needs: at the end of its forward pass or in its backward pass."""
    scored, vocab, hidden, width = demand.micro.scored, demand.shape.vocab, demand.shape.hidden, demand.compute_bytes
    # A trained head's gradient comes in the compute precision and is widened before it is added.
    gradient = vocab * hidden * (width + 4) if demand.full else 0
    if demand.packing and demand.full:
        return gradient + vocab * hidden * width + min(scored, _TRAINED_SLICE) * vocab * (width + 12)
    if demand.packing:
        return scored * hidden * (8 + width) + _tile_bytes(demand)
    # Plain: all logits, the scored ones, those in fp32 (if they are not already), and their log-softmax.
    copies = width + 8 if width < 4 else 8
    forward = demand.micro.positions * vocab * width + scored * vocab * copies
    return max(forward, 12 * scored * vocab + gradient)


def _tile_bytes(demand: Demand) -> int:
    """A tile of the one-pass head: products and exponentials, and where no kernel does it all, logits in fp32."""
    width, tile = demand.compute_bytes, tile_size(demand.device_kind, demand.micro.scored)
    return tile * (8 + 2 * width if demand.device_kind == "cpu" or demand.dense else 2 * width)


def _norm_bytes(demand: Demand) -> int:
    """What a norm keeps of one position: its input and a number; or the input in fp32, normalised too if trained."""
    if demand.fused:
        return demand.shape.hidden * demand.compute_bytes + 4
    return demand.shape.hidden * (8 if demand.full else 4)


def _attention_part_bytes(demand: Demand) -> int:
    """Kept bytes of one layer for one position, but for its feed-forward part; both norms are counted here."""
    return 2 * _norm_bytes(demand) + _attention_bytes(demand) + _inputs_bytes(demand, _ATTENTION_INPUTS)


def _feed_forward_bytes(demand: Demand) -> int:
    """Kept bytes of a layer's feed-forward part for one position: gate, up, silu(gate) if not made again, inputs."""
    gated = (2 if demand.fused else 3) * demand.shape.intermediate * demand.compute_bytes
    return gated + _inputs_bytes(demand, _FEED_FORWARD_INPUTS)


def _attention_bytes(demand: Demand) -> int:
    """Queries, keys, values, the result, an fp32 normaliser for each head; the mask where rows are padded."""
    shape, width = demand.shape, demand.compute_bytes
    query, key_value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    normalisers = 4 * shape.heads
    if not demand.packing or demand.dense:
        # Keys and values are repeated for all query heads; of padded rows each layer makes its own mask of numbers.
        return 4 * query * width + normalisers + demand.micro.width * width
    # Rotated by an fp32 angle, queries and keys are fp32 under autocast. Blocks cast them; elsewhere they stay so, as
    # the result does.
    blocks = demand.device_kind == "cpu"
    rotated = 4 if demand.full and not blocks else width
    kept = (query + key_value) * rotated + key_value * width
    # On a CPU the result is kept only as the input of an output projection that needs it.
    if not blocks or demand.full or "o_proj" in demand.adapted:
        kept += query * rotated
    return kept + (0 if blocks else normalisers)


def _inputs_bytes(demand: Demand, groups: tuple[tuple[str, ...], ...]) -> int:
    """Inputs of linear layers that are kept because a weight behind them is trained, and what LoRA adds to them."""
    shape = demand.shape
    sizes = {"q_proj": shape.hidden, "o_proj": shape.heads * shape.head_dim, "gate_proj": shape.hidden}
    sizes["down_proj"] = shape.intermediate
    total = 0
    for group in groups:
        trained = len(group) if demand.full else sum(name in demand.adapted for name in group)
        total += sizes[group[0]] * _input_width(demand, group, trained)
    return total + (0 if demand.full else _low_rank_bytes(demand, {name for group in groups for name in group}))


def _input_width(demand: Demand, group: tuple[str, ...], trained: int) -> int:
    """Bytes for each number of the input that a group of projections shares, `trained` of which need it."""
    width = demand.compute_bytes
    if trained == 0:
        return 0
    if demand.full and width < 4:
        # Autocast casts the fp32 stream anew for every layer that reads it.
        return width * trained
    if demand.parameters.use_dora and width < 4:
        # PEFT's own layers, which DoRA needs, cast their input to the adapter's fp32, each for itself.
        return 4 * trained
    made_again = demand.fused and demand.parameters.lora_dropout == 0 and not demand.parameters.use_dora
    # The attention's result is the output projection's input, and is counted there.
    return 0 if group == ("o_proj",) or (group == ("down_proj",) and made_again) else width


def _low_rank_bytes(demand: Demand, names: set[str]) -> int:
    """A x of every adapted matrix among `names`; DoRA keeps two results for each output, one of them in fp32."""
    width, rank = demand.compute_bytes, demand.parameters.lora_dim
    adapted = [outputs for name, (_, outputs) in demand.adapted.items() if name in names]
    if not demand.parameters.use_dora:
        return width * rank * len(adapted)
    return sum(4 * rank + (width + 4) * outputs for outputs in adapted)


def _layer_copies(demand: Demand) -> int:
    """A layer's trained weights in the compute precision, kept for its backward pass.

    For full fine-tuning these are autocast's copies. LoRA's A is cast, and B is cast or scaled by alpha / r.
    """
    width = demand.compute_bytes
    if demand.full:
        weights = sum(inputs * outputs for inputs, outputs in demand.shape.projections.values())
        return weights * width if width < 4 else 0
    if demand.parameters.use_dora:
        return 0
    rank, cast = demand.parameters.lora_dim, width < 4
    scaled = demand.parameters.lora_alpha != (rank**0.5 if demand.parameters.use_rslora else rank)
    copied = sum((cast * inputs) + ((cast or scaled) * outputs) for inputs, outputs in demand.adapted.values())
    return width * rank * copied


def _head_copy(demand: Demand) -> int:
    """Autocast's copy of a trained head; the packed head casts inside its own recomputation."""
    if not demand.full or demand.compute_bytes == 4 or demand.packing:
        return 0
    return demand.compute_bytes * demand.shape.vocab * demand.shape.hidden


def _unpacked_bytes(demand: Demand) -> int:
    """The largest quantised matrix in the compute precision; 8 bits take a copy to scale it."""
    largest = max(inputs * outputs for inputs, outputs in demand.shape.projections.values())
    return {"none": 0, "4bit": 1, "8bit": 2}[demand.parameters.quantization] * largest * demand.compute_bytes
