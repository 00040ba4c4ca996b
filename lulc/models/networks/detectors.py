"""Detectors of torchvision for any bands and small objects: FCOS, RetinaNet, Faster R-CNN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.errors import UsageError
from lulc.legend import NODATA
from lulc.models.networks.model import Model

_ENCODERS = ("resnet18", "resnet34", "resnet50")

# Strides of the feature levels in which objects are detected, in pixels of the enlarged image.
_STRIDES = (4, 8, 16, 32)

# Detectors were made for photographs, where an object has hundreds of pixels; in an image twice as
# large, a ship of four pixels has a cell of its own.
_ENLARGED = 2

# Channels of the levels: torchvision's 256, for eighty classes of photographs, take ten times as
# long.
_WIDTH = 64


class Detector(nn.Module):
    """A detector of standardised images, whose output has one shape whatever is in them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, image: Tensor, boxes: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Return the loss in training where boxes are given, else detections.

        Boxes and losses are float32 under any autocast.

        Args:
            image: (N, C, H, W), standardised.
            boxes: true ones, (N, M, 5): class position (255: none), left, top, right, bottom.
            weight: (N,); images of weight 0 are left out, other weights do not count.

        Returns:
            The sum of the images' losses; or boxes (N, M, 6) of class position, score, left, top,
            right and bottom, best first, score 0 where there is none.
        """
        large = functional.interpolate(image.float(), scale_factor=_ENLARGED, mode="bilinear")
        if not self.training or boxes is None:
            return self._detect(large)
        used = torch.ones(len(image), dtype=torch.bool) if weight is None else weight > 0
        if not used.any():
            return 0.0 * torch.stack([p.sum() for p in self.net.parameters()]).sum()
        targets = [
            _target(image_boxes)
            for image_boxes, is_used in zip(boxes, used.tolist(), strict=True)
            if is_used
        ]
        losses: dict[str, Tensor] = self.net(list(large[used]), targets)
        return torch.stack(list(losses.values())).sum() * len(targets)

    def _detect(self, large: Tensor) -> Tensor:
        detections = self.net(list(large))
        most_boxes = max((len(image["scores"]) for image in detections), default=0)
        rows = large.new_zeros(len(large), most_boxes, 6)
        for image_rows, image in zip(rows, detections, strict=True):
            positions, scores = image["labels"][:, None] - 1, image["scores"][:, None]
            columns = (positions, scores, image["boxes"] / _ENLARGED)
            image_rows[: len(scores)] = torch.cat([column.float() for column in columns], 1)
        return rows


def _target(boxes: Tensor) -> dict[str, Tensor]:
    # torchvision has 0 for the background; boxes without height or width are none.
    is_box = (boxes[:, 0] != NODATA) & (boxes[:, 3:] > boxes[:, 1:3]).all(1)
    return {"boxes": boxes[is_box, 1:] * _ENLARGED, "labels": boxes[is_box, 0].long() + 1}


def _build(
    make_detector: Callable[..., nn.Module],
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    **_: Any,
) -> nn.Module:
    """Build the network; UsageError where there is no such encoder."""
    if encoder not in _ENCODERS:
        raise UsageError(
            f"train.encoder {encoder!r} is not for detection; choose one of: {', '.join(_ENCODERS)}"
        )
    # Images are standardised already.
    no_scaling = {"image_mean": [0.0] * in_channels, "image_std": [1.0] * in_channels}
    net: Any = make_detector(_pyramid(encoder, in_channels), classes + 1, no_scaling)
    net.transform.resize = _keep_size
    # A box in bfloat16 is half a pixel off, and scores close to each other become equal.
    for head in (net.roi_heads.box_predictor, net.rpn.head) if hasattr(net, "rpn") else (net.head,):
        head.register_forward_hook(_in_float32)
    return Detector(net)


def _pyramid(encoder: str, in_channels: int) -> nn.Module:
    import torchvision
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    backbone = getattr(torchvision.models, encoder)(weights=None, norm_layer=nn.BatchNorm2d)
    backbone.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    widths = [width * (4 if encoder == "resnet50" else 1) for width in (64, 128, 256)]
    levels = {f"layer{i}": str(i - 1) for i in (1, 2, 3)}
    pyramid: nn.Module = BackboneWithFPN(backbone, levels, widths, _WIDTH)
    return pyramid


def _in_float32(_net: nn.Module, _inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return {name: value.float() for name, value in output.items()}
    return type(output)(_in_float32(_net, _inputs, value) for value in output)


def _keep_size(image: Tensor, target: Any) -> tuple[Tensor, Any]:
    # torchvision brings every image to one size, but the ground size of a pixel is known.
    return image, target


def _fcos(pyramid: nn.Module, classes: int, no_scaling: dict[str, Any]) -> nn.Module:
    # Tian et al. 2019, arXiv:1904.01355.
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES))
    net: nn.Module = FCOS(
        pyramid,
        classes,
        anchor_generator=anchors,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=300,
        **no_scaling,
    )
    return net


def _retinanet(pyramid: nn.Module, classes: int, no_scaling: dict[str, Any]) -> nn.Module:
    # Lin et al. 2017, arXiv:1708.02002.
    from torchvision.models.detection import RetinaNet

    net: nn.Module = RetinaNet(
        pyramid,
        classes,
        anchor_generator=_anchors(3),
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=300,
        **no_scaling,
    )
    return net


def _faster_rcnn(pyramid: nn.Module, classes: int, no_scaling: dict[str, Any]) -> nn.Module:
    # Ren et al. 2015, arXiv:1506.01497.
    from torchvision.models.detection import FasterRCNN
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2)
    net: nn.Module = FasterRCNN(
        pyramid,
        classes,
        rpn_anchor_generator=_anchors(1),
        box_roi_pool=pool,
        box_score_thresh=0.05,
        box_detections_per_img=300,
        **no_scaling,
    )
    return net


def _anchors(scales: int) -> nn.Module:
    # From 12 pixels of the enlarged image on; several scales are a third of an octave apart.
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = tuple(
        tuple(round(3 * stride * 2 ** (i / 3)) for i in range(scales)) for stride in _STRIDES
    )
    anchors: nn.Module = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(_STRIDES))
    return anchors


def _multiple(**_: object) -> int:
    """Return 16: the coarsest level has a cell for so many pixels of the image before enlarging."""
    return 16


FCOS = Model("fcos", ("detect",), partial(_build, _fcos), _multiple)
RETINANET = Model("retinanet", ("detect",), partial(_build, _retinanet), _multiple)
FASTER_RCNN = Model("faster-rcnn", ("detect",), partial(_build, _faster_rcnn), _multiple)
