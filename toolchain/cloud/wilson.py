"""How large a share surely is, of which a sample was seen."""

import math

Z = 1.96  # of a standard normal distribution, 95 % is within


def share_at_least(some: int, of: int) -> float:
    """The lower bound of Wilson's 95 % interval: the share in a population of which `some` of `of` were met.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212.
    """
    share, z2 = some / of, Z**2
    spread = Z * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return (share + z2 / (2 * of) - spread) / (1 + z2 / of)
