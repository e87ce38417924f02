"""What every backbone's network does in inference."""

from torch import Tensor, nn


class Network(nn.Module):
    """A network from clips to features over time, and to class scores."""

    def compute(self, clips: Tensor, scores: bool) -> tuple[Tensor, Tensor | None]:
        """Features of clips (B, 3, T, H, W) as the network takes them, and scores if asked for.

        Returns:
            float32 (B, dim, T'), and float32 (B, classes, T') or None.
        """
        raise NotImplementedError

    def fold_batch_norms(self) -> None:
        """Make the network ready for inference only: same output, one pass a layer less."""
        self.eval()
