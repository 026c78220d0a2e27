"""What a round costs, in floating point operations and bytes: the cost model of
benchmarks/README.md.

W: the linear weights that every token passes (embeddings and head left out); H: the head's, passed
by response tokens only; p: the adapter's parameters; a multiplication and an addition are two
operations. Attention's own products are left out: at the paper's lengths they are a few per cent.
"""

from dataclasses import dataclass

from activedpo_lib.method.design import HEAD, REFRESHED

ASSUMED_GPU = (
    0.4 * 989e12
)  # operations a second: 40 % of an H100's bfloat16 peak; assumed, not measured


@dataclass(frozen=True)
class Sizes:
    """A model and the texts of one response: W, H, p as above, prompt and response lengths in
    tokens.
    """

    weights: float
    head: float
    adapter: float
    prompt: float
    response: float

    def _pass(self, of_weights: float, of_adapter: float) -> float:
        tokens = self.prompt + self.response
        return (
            of_weights * (self.weights * tokens + self.head * self.response)
            + of_adapter * self.adapter * tokens
        )

    def features(self) -> float:
        """FLOP of one response's gradient: forward and the inputs' gradient, and the adapter's own
        three products.
        """
        return self._pass(4, 6)

    def fold(self) -> float:
        """FLOP of one response's projection by the fold: a sign and a sum for each parameter."""
        return 2 * self.adapter

    def logps(self) -> float:
        """FLOP of one response's log-probability."""
        return self._pass(2, 2)

    def hidden(self) -> float:
        """FLOP of one response's hidden states under the reference: a forward pass without the
        head.
        """
        return 2 * self.weights * (self.prompt + self.response)

    def generation(self, copies: int) -> float:
        """FLOP of `copies` responses to one prompt, the prefill shared. A little more than is done:
        nothing is computed after a response's last token, and its first token's logits are the
        prompt's, one for all copies; 4 % of 24 tokens.
        """
        linear = self.weights + self.adapter
        return (
            2 * linear * (self.prompt + copies * self.response)
            + 2 * self.head * copies * self.response
        )

    def dpo(self, epochs: float) -> float:
        """FLOP of training on one pair for `epochs`: both responses forward and backward, and the
        reference once. Left out: TRL computes the head's logits again on the way back (2 H R), and
        on a CPU those of the prompt too; gradient checkpointing's second forward pass.
        """
        return 2 * (epochs * self._pass(4, 6) + self._pass(2, 0))


def round_flops(
    size: Sizes,
    needs: frozenset[str] | set[str],
    prompts: int,
    responses: int,
    labelled: int,
    entropy_samples: int = 0,
    targets: int = 0,
) -> tuple[float, float]:
    """FLOP of a round up to the pick, (generation, measuring), for a strategy that needs these
    columns of Candidates.

    prompts, responses: of the round's pool, `responses` to each; labelled: the pairs whose features
    are measured again (D3); targets: EPIG's held-out prompts, which are answered as the pool is.
    """
    pool, past = prompts * responses, 2 * labelled
    measured = 0.0
    if "phi" in needs:
        measured += (pool + past) * size.features()
    if needs & {"margin", "entropy"}:
        measured += pool * size.logps()
    if "margin" in needs:  # the reference's
        measured += pool * size.logps()
    if "entropy" in needs and entropy_samples:
        measured += prompts * (size.generation(entropy_samples) + entropy_samples * size.logps())
    if "hidden" in needs:  # no head: one forward pass
        measured += (pool + past) * size.hidden()
    if "prompt_hidden" in needs:  # of prompts alone
        measured += (prompts + labelled) * 2 * size.weights * size.prompt
    if "target_phi" in needs:
        measured += targets * (size.generation(responses) + responses * size.features())
    return prompts * size.generation(responses), measured


def selection_flops(pairs: int, dimensions: int, labelled: int, picks: int) -> float:
    """FLOP of greedy selection: one pass over the pool, and for each pick REFRESHED rows of it
    against the picks that are new to them. A pool can ask for more: on the tests' pools what
    follows the pass is up to twice that. Left out: the labelled pairs' own kernel.
    """
    passing = 2 * pairs * dimensions * (1 + labelled)
    return passing + REFRESHED * picks**2 * dimensions


def selection_bytes(pairs: int, dimensions: int) -> int:
    """Bytes of the pool's features, float32: what one pass over it reads."""
    return 4 * pairs * dimensions


def pick_traffic(dimensions: int, processes: int) -> int:
    """Bytes that one pick brings to a process that has not the pair, of several that share a pool:
    two numbers of each other one, and from the one that has it HEAD + d numbers, all float64.
    """
    return 16 * (processes - 1) + 8 * (HEAD + dimensions) if processes > 1 else 0


def step_traffic(adapter: float, processes: int) -> float:
    """Bytes that one training step brings to each of several processes: the adapter's float32
    gradients, averaged around a ring.
    """
    return 2 * 4 * adapter * (processes - 1) / processes
