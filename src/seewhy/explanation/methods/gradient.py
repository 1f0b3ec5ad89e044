r"""Methods that weigh activations by gradients.

Each is a pure function of the activations :math:`A^k` of the target layer's k-th channel and of
the gradients :math:`g^k_{ij} = \partial y^c / \partial A^k_{ij}` of the explained score
:math:`y^c` (a logit, or a difference of logits), both (N, C, h, w); Z = h·w. Each returns maps
(N, h, w), never negative, not normalised. None knows networks, layers or images.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Grad-CAM: every channel is weighted by its mean gradient.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big), \qquad
              \alpha_k^c = \frac{1}{Z} \sum_{i,j} g^k_{ij}

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017, equations 1 and 2.
    """
    return _weighted(gradients.mean(dim=(2, 3)), activations)


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Grad-CAM++: positive gradients, weighted so that several objects count equally.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k w_k^c A^k\Big), \quad
              w_k^c = \sum_{i,j} \alpha^{kc}_{ij}\, \mathrm{ReLU}(g^k_{ij}), \quad
              \alpha^{kc}_{ij} = \frac{(g^k_{ij})^2}
                  {2 (g^k_{ij})^2 + \sum_{a,b} A^k_{ab}\, (g^k_{ij})^3}

    Divided by the square, :math:`\alpha = 1 / (2 + g^k_{ij} \sum_{a,b} A^k_{ab})`, which needs no
    small constant against zero. The paper explains exp of the logit; the factor that this puts
    before every weight is the same for all channels and left out. The paper takes activations
    after a ReLU; where channels can sum to negative values, places whose denominator is not
    positive get no weight.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional
    Networks", WACV 2018, equations 8, 18 and 19.
    """
    denominators = 2 + gradients * activations.sum(dim=(2, 3), keepdim=True)
    ratios = gradients.relu() / denominators
    weights = torch.where(denominators > 0, ratios, 0).sum(dim=(2, 3))
    return _weighted(weights, activations)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""HiResCAM: every place by its own gradient.

    .. math:: L^c_{ij} = \mathrm{ReLU}\Big(\sum_k g^k_{ij} A^k_{ij}\Big)

    References
    ----------
    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks", arXiv 2011.08891, equation 5.
    """
    return (gradients * activations).sum(dim=1).relu()


def gradcam_elementwise(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Grad-CAM elementwise: as HiResCAM, but channels that count against a class are left out.

    .. math:: L^c_{ij} = \sum_k \mathrm{ReLU}\big(g^k_{ij} A^k_{ij}\big)

    References
    ----------
    Pillai and Pirsiavash, "Explainable Models with Consistent Interpretations", AAAI 2021,
    section 3.1.
    """
    return (gradients * activations).relu().sum(dim=1)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""XGrad-CAM: gradients averaged with the activations' own shares as weights.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big), \qquad
              \alpha_k^c = \sum_{i,j} \frac{A^k_{ij}}{\sum_{a,b} A^k_{ab}}\, g^k_{ij}

    A channel that sums to zero gets no weight.

    References
    ----------
    Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
    BMVC 2020, equation 8.
    """
    totals = activations.sum(dim=(2, 3))
    shares = (gradients * activations).sum(dim=(2, 3)) / totals
    return _weighted(torch.where(totals != 0, shares, 0), activations)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""LayerCAM: every place by its own positive gradient; suits shallow layers too.

    .. math:: L^c_{ij} = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(g^k_{ij})\, A^k_{ij}\Big)

    References
    ----------
    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
    IEEE TIP 2021, equations 6 to 8.
    """
    return (gradients.relu() * activations).sum(dim=1).relu()


def finercam(activations: Tensor, gradients: Tensor) -> Tensor:
    r"""Finer-CAM: Grad-CAM of what distinguishes a class from those most like it.

    .. math:: y^{c} - \gamma\, \frac{1}{T} \sum_{t=1}^{T} y^{d_t}

    is the score whose gradients are weighted as in `gradcam`, with :math:`d_t` the T = 3 classes
    whose logits are nearest to that of class c, and :math:`\gamma` = 0.6. The engine computes the
    gradients of that difference; the formula is Grad-CAM's.

    References
    ----------
    Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual
    Explanation", CVPR 2025, arXiv 2501.11309.
    """
    return gradcam(activations, gradients)


def shapleycam(activations: Tensor, gradients: Tensor, curvatures: Tensor) -> Tensor:
    r"""ShapleyCAM: Grad-CAM with the Shapley value's second-order term.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A^k\Big), \qquad
              \alpha_k^c = \frac{1}{Z} \sum_{i,j} \Big(g - \tfrac{1}{2} H A\Big)^k_{ij}

    with H the second derivative of the score by all activations of the layer; `curvatures` is the
    product H·A, (N, C, h, w). For a score that is linear in the activations it is Grad-CAM. The
    paper explains the score ``residual_softmax`` (see `seewhy.explanation.targets`); as in
    pytorch-grad-cam the logit is the default here.

    References
    ----------
    Cai, "CAMs as Shapley Value-based Explainers", The Visual Computer 2025, arXiv 2501.06261.
    """
    return gradcam(activations, gradients - curvatures / 2)


def cam(activations: Tensor, weights: Tensor) -> Tensor:
    r"""CAM: the linear layer's own weights, for networks that end in pooling and one such layer.

    .. math:: L^c = \mathrm{ReLU}\Big(\sum_k w_k^c A^k\Big)

    with :math:`w_k^c` the weight from channel k's mean to class c; `weights` (N, K, C) holds those
    of K classes per image, and the maps are (N, K, h, w). Grad-CAM there is CAM divided by Z. The
    paper keeps negative values; here they are cut off, as in all maps.

    References
    ----------
    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.
    """
    return weighted_maps(weights, activations)


def _weighted(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum channels (N, C, h, w) by weights (N, C); keep what is positive: (N, h, w)."""
    return weighted_maps(weights[:, None], activations)[:, 0]


def weighted_maps(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum channels (N, C, h, w) by K sets of weights (N, K, C); keep the positive: (N, K, h, w)."""
    places = activations.shape[2:]
    # The caller's autocast is for the forward pass; a sum over channels needs float32.
    with torch.autocast(activations.device.type, enabled=False):
        maps = torch.matmul(weights, activations.flatten(2))
    return maps.relu_().view(*weights.shape[:2], *places)
