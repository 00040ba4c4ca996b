"""Networks of torchvision that find things: FCOS, RetinaNet and Faster R-CNN, for any bands and for things of a few pixels."""

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

# Strides of the levels in which things are looked for, in pixels of the enlarged image.
_STRIDES = (4, 8, 16, 32)

# Detectors were made for photographs, where a thing has hundreds of pixels; twice as large, a ship of four has its own place.
_ENLARGED = 2

# Channels of the levels: torchvision's 256, for eighty classes of photographs, take ten times as long.
_WIDTH = 64


class Detector(nn.Module):
    """A detector that is given images that are standardised already, and whose batch has one form whatever is in it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, image: Tensor, boxes: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Learning: the sum of the losses of images, given boxes (N, M, 5) of position (255: none) and sides.

        Images of weight 0 are left out; other weights do not count. Else boxes (N, M, 6) of position, score and sides, best
        first, score 0 where there is none. From images (N, C, H, W). Places and losses are float32 under any autocast.
        """
        large = functional.interpolate(image.float(), scale_factor=_ENLARGED, mode="bilinear")
        if not self.training or boxes is None:
            return self._find(large)
        kept = torch.ones(len(image), dtype=torch.bool) if weight is None else weight > 0
        if not kept.any():
            return 0.0 * torch.stack([p.sum() for p in self.net.parameters()]).sum()
        targets = [_target(part) for part, there in zip(boxes, kept.tolist(), strict=True) if there]
        losses: dict[str, Tensor] = self.net(list(large[kept]), targets)
        return torch.stack(list(losses.values())).sum() * len(targets)

    def _find(self, large: Tensor) -> Tensor:
        found = self.net(list(large))
        most = max((len(one["scores"]) for one in found), default=0)
        out = large.new_zeros(len(large), most, 6)
        for rows, one in zip(out, found, strict=True):
            columns = [one["labels"][:, None] - 1, one["scores"][:, None], one["boxes"] / _ENLARGED]
            rows[: len(one["scores"])] = torch.cat([column.float() for column in columns], 1)
        return out


def _target(boxes: Tensor) -> dict[str, Tensor]:
    # torchvision keeps 0 for what is no thing; boxes without height or width are none.
    there = (boxes[:, 0] != NODATA) & (boxes[:, 3:] > boxes[:, 1:3]).all(1)
    return {"boxes": boxes[there, 1:] * _ENLARGED, "labels": boxes[there, 0].long() + 1}


def _build(
    make: Callable[..., nn.Module],
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    **_: Any,
) -> nn.Module:
    """The network; UsageError when there is no such encoder."""
    import torchvision
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    if encoder not in _ENCODERS:
        raise UsageError(
            f"train.encoder {encoder!r}: things are detected with {', '.join(_ENCODERS)}"
        )
    backbone = getattr(torchvision.models, encoder)(weights=None, norm_layer=nn.BatchNorm2d)
    backbone.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    widths = [width * (4 if encoder == "resnet50" else 1) for width in (64, 128, 256)]
    pyramid = BackboneWithFPN(
        backbone, {f"layer{i}": str(i - 1) for i in (1, 2, 3)}, widths, _WIDTH
    )
    plain = {
        "image_mean": [0.0] * in_channels,
        "image_std": [1.0] * in_channels,
    }
    net: Any = make(pyramid, classes + 1, plain)
    net.transform.resize = _as_is
    # A box told in bfloat16 is half a pixel off, and like scores fall together.
    for head in (net.roi_heads.box_predictor, net.rpn.head) if hasattr(net, "rpn") else (net.head,):
        head.register_forward_hook(_in_float32)
    return Detector(net)


def _in_float32(_net: nn.Module, _inputs: Any, told: Any) -> Any:
    if isinstance(told, Tensor):
        return told.float()
    if isinstance(told, dict):
        return {name: value.float() for name, value in told.items()}
    return type(told)(_in_float32(_net, _inputs, value) for value in told)


def _as_is(image: Tensor, target: Any) -> tuple[Tensor, Any]:
    # torchvision brings every image to one size; whoever maps the ground knows how large a pixel is.
    return image, target


def _fcos(pyramid: nn.Module, classes: int, plain: dict[str, Any]) -> nn.Module:
    # Tian et al. 2019, arXiv:1904.01355.
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES))
    found: nn.Module = FCOS(
        pyramid,
        classes,
        anchor_generator=anchors,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=300,
        **plain,
    )
    return found


def _retinanet(pyramid: nn.Module, classes: int, plain: dict[str, Any]) -> nn.Module:
    # Lin et al. 2017, arXiv:1708.02002.
    from torchvision.models.detection import RetinaNet

    found: nn.Module = RetinaNet(
        pyramid,
        classes,
        anchor_generator=_anchors(3),
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=300,
        **plain,
    )
    return found


def _faster_rcnn(pyramid: nn.Module, classes: int, plain: dict[str, Any]) -> nn.Module:
    # Ren et al. 2015, arXiv:1506.01497.
    from torchvision.models.detection import FasterRCNN
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2)
    found: nn.Module = FasterRCNN(
        pyramid,
        classes,
        rpn_anchor_generator=_anchors(1),
        box_roi_pool=pool,
        box_score_thresh=0.05,
        box_detections_per_img=300,
        **plain,
    )
    return found


def _anchors(count: int) -> nn.Module:
    # From 12 pixels of the enlarged image on, in steps of a third of an octave where there are several.
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = tuple(
        tuple(round(3 * stride * 2 ** (i / 3)) for i in range(count)) for stride in _STRIDES
    )
    made: nn.Module = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(_STRIDES))
    return made


def _multiple(**_: object) -> int:
    """16: the coarsest level has a cell for so many pixels, which the network enlarges."""
    return 16


FCOS = Model("fcos", ("detect",), partial(_build, _fcos), _multiple)
RETINANET = Model("retinanet", ("detect",), partial(_build, _retinanet), _multiple)
FASTER_RCNN = Model("faster-rcnn", ("detect",), partial(_build, _faster_rcnn), _multiple)
