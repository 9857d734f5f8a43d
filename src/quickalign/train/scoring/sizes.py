"""Sizes that the packed passes choose for a device, and that the planner counts with."""

from quickalign.train.device import DeviceKind

# Numbers in a tile of logits: small enough for a CPU's second-level cache (with 512 KiB of it, 3 to 20 % faster than
# tiles of twice the size), large enough to keep a GPU busy with each of its kernels.
CPU_TILE = 1 << 17
GPU_TILE = 1 << 23
# Columns of a tile, at least, however many rows it has, and on a GPU at most: few rows keep a micro-batch small, so its
# tiles must be as well.
TILE_COLUMNS = 1024
GPU_TILE_COLUMNS = 8192
# On a CPU a sequence, and its places, are filled up to a multiple of so many. oneDNN cuts a product's rows into equal
# pieces and has no good ones for some numbers: bf16 products at Qwen2-0.5B's shapes then take a third longer. Over
# random lengths of 130 to 500 tokens, multiples of 4 take 2 to 4 % less time, those of 16 only 1 %; in fp32, up to 1 %.
CPU_MULTIPLE = 4
# On a GPU, sequences and what is scored of them have few different lengths, so that few CUDA graphs serve them all:
# steps of a sixteenth, and at least these. FlexAttention makes one kernel for a single tile and another for more, so
# there are two tiles at least.
GPU_ATTENTION_TILE = 128
GPU_SCORED = 128
_STEPS = 16


def tile_size(kind: DeviceKind, places: int) -> int:
    """About how many numbers a tile of logits has for so many places where something is predicted."""
    largest = CPU_TILE if kind == "cpu" else min(GPU_TILE, places * GPU_TILE_COLUMNS)
    return max(largest, places * TILE_COLUMNS)


def filled(kind: DeviceKind, length: int, places: int, scored: int) -> tuple[int, int, int]:
    """Up to how many tokens, places where something is predicted, and scored tokens to fill a packed sequence."""
    if kind == "cpu":
        length = _multiple(length, CPU_MULTIPLE)
        return length, min(_multiple(places, CPU_MULTIPLE), length), scored
    length, scored = max(_step(length, GPU_ATTENTION_TILE), 2 * GPU_ATTENTION_TILE), _step(scored, GPU_SCORED)
    return length, min(scored, length), scored


def _step(number: int, least: int) -> int:
    """`number`, rounded up by a sixteenth of itself at most, or to a multiple of `least`, a power of two as well."""
    return _multiple(number, max((1 << number.bit_length()) // (2 * _STEPS), least))


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of
