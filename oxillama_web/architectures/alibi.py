"""Attention with linear biases, for models without embeddings of positions.

Press et al. 2022, https://arxiv.org/abs/2108.12409.
"""


def alibi_slopes(n_heads: int, max_bias: float = 8.0) -> tuple[float, ...]:
    """Return how much each head's scores fall for each position of distance.

    The slopes of n heads, n a power of two, are a geometric series that ends with 2^-max_bias.
    Beyond the largest power of two, heads take every other slope of a series of twice as many.

    Args:
        max_bias: 0: no slopes.
    """
    if not max_bias:
        return ()
    n = 1 << (n_heads.bit_length() - 1)
    between = [2.0 ** (-max_bias * (2 * i + 1) / (2 * n)) for i in range(n_heads - n)]
    return (*(2.0 ** (-max_bias * (i + 1) / n) for i in range(n)), *between)
