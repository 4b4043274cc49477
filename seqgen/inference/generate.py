"""The only sampling loop. Sampling is a pure function of (model, context, sampling, noise)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from seqgen.model import Context, Model
from seqgen.output import PLAIN, Sampling


def draw_noise(batch: int, length: int, seed: int) -> Tensor:
    """Uniform noise (B, T) in [0, 1), float64, from one generator; row b does not depend on how many rows follow."""
    return torch.rand(batch, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def stream(
    model: Model,
    noise: Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
) -> Iterator[Tensor]:
    """Symbols (B,), one for each column of noise (B, T), drawn one after the other behind a prompt (B, S).

    The prompt, of any length, is taken in by one `step`.
    """
    yield from _drawn(model, noise, sampling, context, prompt)


def _drawn(
    model: Model, noise: Tensor, sampling: Sampling, context: Context | None, prompt: Tensor | None
) -> Iterator[Tensor]:
    """The loop itself; in and out of inference mode at every symbol it would be slower."""
    if not noise.shape[1]:  # a prompt may be a whole item, behind which no symbol is
        return
    parameters, state = model.start(len(noise), context)
    if prompt is not None and prompt.shape[1]:
        rows, state = model.step(prompt.to(model.device), state, context)
        parameters = rows[:, -1]
    columns = noise.to(model.device).unbind(1)
    for left, column in enumerate(columns, 1 - len(columns)):
        x = model.output.draw(parameters, column, sampling)
        yield x
        if left:
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

    What a row holds behind its own end means nothing. `watch` is called with the number of columns drawn,
    and of those that are to be drawn at most.
    """
    columns: list[Tensor] = []
    ended = torch.zeros(len(noise), dtype=torch.bool, device=model.device)
    with torch.inference_mode():
        for x in _drawn(model, noise, sampling, context, prompt):
            columns.append(x)
            if watch is not None:
                watch(len(columns), noise.shape[1])
            if end is not None:
                ended |= x == end
                if bool(ended.all()):
                    break
    if not columns:
        return torch.zeros(len(noise), 0, dtype=model.output.dtype, device=model.device)
    return torch.stack(columns, 1)
