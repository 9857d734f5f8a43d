"""A model whose blocks hold the token ids themselves: what a row sees is read back from its blocks, and computed anew."""

import torch
from torch import Tensor, nn

from quickalign.serve.engines.paged import Batch


class TokenBlocks:
    """Computes every row from its first token on, over what its blocks hold."""

    def __init__(self, model: nn.Module, block_size: int = 4) -> None:
        self.model = model.eval()
        self.block_size = block_size
        self.held: dict[tuple[int, int], tuple[int, int]] = {}
        self.sizes: list[int] = []

    @torch.inference_mode()
    def compute(self, batch: Batch) -> Tensor:
        assert len(batch.tokens) == len(batch.positions) == batch.begins[-1]
        self.sizes.append(len(batch.tokens))
        logits = [self._row(batch, row) for row in range(len(batch.held))]
        return torch.cat(logits)[list(batch.scored)]

    def _row(self, batch: Batch, row: int) -> Tensor:
        begin, end, held = batch.begins[row], batch.begins[row + 1], batch.held[row]
        blocks = batch.blocks[batch.block_begins[row] : batch.block_begins[row + 1]]
        for place, token in enumerate(batch.tokens[begin:end], held):
            assert batch.positions[begin + place - held] == place
            self.held[blocks[place // self.block_size], place % self.block_size] = (place, token)
        total = held + end - begin
        assert total <= batch.longest
        ids = []
        for place in range(total):
            found, token = self.held[blocks[place // self.block_size], place % self.block_size]
            assert found == place, "a block holds another row's tokens"
            ids.append(token)
        return self.model(input_ids=torch.tensor([ids])).logits[0, held:]
