"""Import this before torchvision, in the other environment: a torchvision built for CUDA imports beside a torch that is not."""

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"):
    for _operator in (_name, f"_{_name}_backward"):
        if not hasattr(torch.ops.torchvision, _operator):  # none is called
            LIBRARY.define(f"{_operator}(Tensor none) -> Tensor")
