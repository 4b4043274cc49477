"""The only sampling loop. Sampling is a pure function of (model, context, sampling, noise)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from seqgen.model import Context, Model
from seqgen.output import PLAIN, Sampling


def draw_noise(batch: int, length: int, seed: int) -> Tensor:
    """Uniform noise (B, T) in [0, 1), float64, from one seeded generator; row b does not depend on B."""
    return torch.rand(batch, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def stream(
    model: Model,
    noise: Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
) -> Iterator[Tensor]:
    """Symbols (B,), one for each column of noise (B, T), as soon as each is drawn, after a prompt (B, S).

    The prompt, of any length, is taken in by one `step`. Memory does not grow with the number of symbols drawn.
    """
    yield from _drawn(model, noise, sampling, context, prompt)


def _drawn(
    model: Model, noise: Tensor, sampling: Sampling, context: Context | None, prompt: Tensor | None
) -> Iterator[Tensor]:
    """The loop itself, outside inference mode, since entering and leaving that at every symbol costs time."""
    batch, length = noise.shape
    if not length:  # the prompt may be the whole item
        return
    parameters, state = model.start(batch, context)
    if prompt is not None and prompt.shape[1]:
        rows, state = model.step(prompt.to(model.device), state, context)
        parameters = rows[:, -1]
    noise = noise.to(model.device)
    for t in range(length):
        x = model.output.draw(parameters, noise.select(1, t), sampling)
        yield x
        if t + 1 < length:
            rows, state = model.step(x.unsqueeze(1), state, context)
            parameters = rows.squeeze(1)


def sample(
    model: Model,
    noise: Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
    end: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Symbols (B, T) without the prompt; T is shorter than the noise once every row holds the symbol `end`.

    What follows the end symbol in a row has no meaning. `watch` is called after each symbol with the number of symbols
    drawn so far and the largest number that may be drawn. Memory is that of noise (B, T) and of the result.
    """
    symbols = torch.empty(noise.shape, dtype=model.output.dtype, device=model.device)
    ended = torch.zeros(len(noise), dtype=torch.bool, device=model.device)
    drawn = 0
    with torch.inference_mode():
        for x in _drawn(model, noise, sampling, context, prompt):
            symbols[:, drawn] = x
            drawn += 1
            if watch is not None:
                watch(drawn, noise.shape[1])
            if end is not None:
                ended |= x == end
                if bool(ended.all()):
                    break
    return symbols[:, :drawn]
