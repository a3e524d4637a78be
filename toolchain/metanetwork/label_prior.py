"""How frequent each class is on a device, from soft predictions of unlabelled samples."""

from torch import Tensor

PASSES = 30


def label_prior(
    probability: Tensor, share: Tensor, smoothing: float, present: Tensor | None = None
) -> Tensor:
    """Class priors fp32 [..., C] by EM (Saerens, Latinne and Decaestecker 2002, doi:10.1162/089976602753284446).

    Args:
        probability: fp32 [..., n, C], soft predictions by a model that was trained where classes have `share` [C].
        smoothing: how many samples' worth of `share` is mixed in: a Dirichlet prior.
        present: fp32 [..., n], 1 or 0: which samples count; None for all.
    """
    counted = probability if present is None else probability * present[..., None]
    count = counted.sum(dim=(-2, -1))[..., None]
    prior = share.expand(*counted.shape[:-2], -1)
    for _ in range(PASSES):
        joint = counted * (prior / share)[..., None, :]
        total = (probability * (prior / share)[..., None, :]).sum(dim=-1, keepdim=True)
        prior = ((joint / total).sum(dim=-2) + smoothing * share) / (count + smoothing)
    return prior
