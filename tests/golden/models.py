"""models.py - the networks as PyTorch modules, with the parameter names of their public checkpoints. No dropout."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision


class SeparableConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_in, 3, padding=1, groups=n_in, bias=False)
        self.pointwise = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """Repeats of [ReLU, separable convolution, BN] beside a shortcut; a max pool ends the body where the stride is 2."""

    def __init__(self, n_in, n_out, repeats, stride=1, starts_with_relu=True, grow_first=True):
        super().__init__()
        widths = [n_in] + [n_out if grow_first else n_in] * (repeats - 1) + [n_out]
        layers = []
        for i in range(repeats):
            if i > 0 or starts_with_relu:
                layers.append(nn.ReLU())
            layers += [SeparableConv(widths[i], widths[i + 1]), nn.BatchNorm2d(widths[i + 1])]
        if stride == 2:
            layers.append(nn.MaxPool2d(3, 2, 1))
            self.skip = nn.Conv2d(n_in, n_out, 1, stride=2, bias=False)
            self.skipbn = nn.BatchNorm2d(n_out)
        self.rep = nn.Sequential(*layers)
        self.stride = stride

    def forward(self, x):
        shortcut = self.skipbn(self.skip(x)) if self.stride == 2 else x
        return self.rep(x) + shortcut


class Xception(nn.Module):
    def __init__(self, n_out, n_in=3, first_stride=2):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, 32, 3, stride=first_stride, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = Block(64, 128, 2, stride=2, starts_with_relu=False)
        self.block2 = Block(128, 256, 2, stride=2)
        self.block3 = Block(256, 728, 2, stride=2)
        for i in range(4, 12):
            setattr(self, f"block{i}", Block(728, 728, 3))
        self.block12 = Block(728, 1024, 2, stride=2, grow_first=False)
        self.conv3 = SeparableConv(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.act4 = nn.ReLU()
        self.fc = nn.Linear(2048, n_out)

    def features(self, x):
        """Pooled, after act4: [B,2048]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        for i in range(1, 13):
            x = getattr(self, f"block{i}")(x)
        x = F.relu(self.bn3(self.conv3(x)))
        return self.act4(self.bn4(self.conv4(x))).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


def constant(values):
    """Stored, never trained; in double, so that a model in double has it exactly."""
    return nn.Parameter(torch.as_tensor(values, dtype=torch.float64), requires_grad=False)


def dct_matrix(n):
    k, i = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    matrix = math.sqrt(2 / n) * torch.cos(math.pi * k * (i + 0.5) / n)
    matrix[0] = math.sqrt(1 / n)
    return matrix


class Filter(nn.Module):
    """A band's mask plus learnt gains; `norm` divides by how many coefficients the band has."""

    def __init__(self, n, low, high, norm=False):
        super().__init__()
        diagonal = torch.arange(n)[:, None] + torch.arange(n)
        self.base = constant((diagonal >= low) & (diagonal <= high))
        self.learnable = nn.Parameter(0.1 * torch.randn(n, n))
        if norm:
            self.ft_num = constant(self.base.sum())

    def forward(self, x):
        y = x * (self.base + 2 * torch.sigmoid(self.learnable) - 1)
        return y / self.ft_num if hasattr(self, "ft_num") else y


class FadHead(nn.Module):
    def __init__(self, n):
        super().__init__()
        self._DCT_all = constant(dct_matrix(n))
        self._DCT_all_T = constant(dct_matrix(n).T)
        edges = ((0, n // 2.82), (n // 2.82, n // 2), (n // 2, 2 * n), (0, 2 * n))
        self.filters = nn.ModuleList(Filter(n, low, high) for low, high in edges)

    def forward(self, x):
        spectrum = self._DCT_all @ x @ self._DCT_all_T
        return torch.cat([self._DCT_all_T @ f(spectrum) @ self._DCT_all for f in self.filters], 1)


class LfsHead(nn.Module):
    def __init__(self, window=10, bands=6):
        super().__init__()
        self._DCT_patch = constant(dct_matrix(window))
        self._DCT_patch_T = constant(dct_matrix(window).T)
        edge = [window * 2.0 / bands * i for i in range(bands + 1)]
        self.filters = nn.ModuleList(Filter(window, edge[i], edge[i + 1], norm=True) for i in range(bands))
        self.window = window

    def forward(self, x):
        grey = 122.5 * (1 + (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True))
        places = [(size + 8 - self.window) // 2 + 1 for size in x.shape[2:]]
        patches = F.unfold(grey, self.window, padding=4, stride=2).transpose(1, 2)
        spectrum = self._DCT_patch @ patches.unflatten(2, (self.window, self.window)) @ self._DCT_patch_T
        logs = torch.log10(spectrum.abs() + 1e-15)
        return torch.stack([f(logs).sum((2, 3)) for f in self.filters], 1).unflatten(2, places)


class F3Net(nn.Module):
    """yyk-wew's, in its modes FAD and Both; the fc of each Xception is stored and never called."""

    def __init__(self, n_out, size, both):
        super().__init__()
        self.FAD_head = FadHead(size)
        self.FAD_xcep = Xception(n_out, n_in=12)
        if both:
            self.LFS_head = LfsHead()
            self.LFS_xcep = Xception(n_out, n_in=6, first_stride=1)
        self.fc = nn.Linear(4096 if both else 2048, n_out)

    def forward(self, x):
        y = self.FAD_xcep.features(self.FAD_head(x))
        if hasattr(self, "LFS_head"):
            y = torch.cat([y, self.LFS_xcep.features(self.LFS_head(x))], 1)
        return self.fc(y)


class Meso4(nn.Module):
    """The PyTorch port: ReLU before BN, and each of the two batch norms used twice."""

    def __init__(self, n_out):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 5, padding=2, bias=False)
        self.conv3 = nn.Conv2d(8, 16, 5, padding=2, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv4 = nn.Conv2d(16, 16, 5, padding=2, bias=False)
        self.pool4 = nn.MaxPool2d(4)
        self.fc1 = nn.Linear(16 * 8 * 8, 16)
        self.fc2 = nn.Linear(16, n_out)

    def forward(self, x):
        x = F.max_pool2d(self.bn1(F.relu(self.conv1(x))), 2)
        x = F.max_pool2d(self.bn1(F.relu(self.conv2(x))), 2)
        x = F.max_pool2d(self.bn2(F.relu(self.conv3(x))), 2)
        x = self.pool4(self.bn2(F.relu(self.conv4(x))))
        return self.fc2(F.leaky_relu(self.fc1(x.flatten(1)), 0.1))


class PaddedConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME" for images of `nominal` pixels; None: of whatever size arrives."""

    def __init__(self, *args, nominal, **kwargs):
        super().__init__(*args, bias=False, **kwargs)
        self.nominal = nominal

    def forward(self, x):
        pads = []
        for size in (self.nominal or x.shape[3], self.nominal or x.shape[2]):
            k, s = self.kernel_size[0], self.stride[0]
            total = max((-(-size // s) - 1) * s + k - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class MBConv(nn.Module):
    """Expand, depthwise, squeeze and excite, project; a shortcut where the shape stays."""

    def __init__(self, n_in, n_out, kernel, stride, expand, norm, padded):
        super().__init__()
        wide, reduced = n_in * expand, n_in // 4
        if expand > 1:
            self._expand_conv = nn.Conv2d(n_in, wide, 1, bias=False)
            self._bn0 = norm(wide)
        self._depthwise_conv = padded(wide, wide, kernel, stride, groups=wide)
        self._bn1 = norm(wide)
        self._se_reduce = nn.Conv2d(wide, reduced, 1)
        self._se_expand = nn.Conv2d(reduced, wide, 1)
        self._project_conv = nn.Conv2d(wide, n_out, 1, bias=False)
        self._bn2 = norm(n_out)
        self.expands, self.is_residual = expand > 1, stride == 1 and n_in == n_out

    def forward(self, x):
        y = F.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.silu(self._bn1(self._depthwise_conv(y)))
        s = self._se_expand(F.silu(self._se_reduce(y.mean((2, 3), keepdim=True))))
        y = self._bn2(self._project_conv(y * torch.sigmoid(s)))
        return y + x if self.is_residual else y


class EfficientNetB4(nn.Module):
    """lukemelas' names. padding: "static" (SAME for 380 pixels, as lukemelas has it), "same", "symmetric" (torchvision)."""

    STAGES = [  # blocks, kernel, stride, expand, in, out
        (2, 3, 1, 1, 48, 24), (4, 3, 2, 6, 24, 32), (4, 5, 2, 6, 32, 56), (6, 3, 2, 6, 56, 112),
        (6, 5, 1, 6, 112, 160), (8, 5, 2, 6, 160, 272), (2, 3, 1, 6, 272, 448),
    ]  # fmt: skip

    def __init__(self, n_out, padding):
        super().__init__()
        self.nominal = 380
        settings = {} if padding == "symmetric" else {"eps": 1e-3, "momentum": 0.01}
        norm = lambda n: nn.BatchNorm2d(n, **settings)

        def padded(n_in, n_out, kernel, stride, groups=1):
            if padding == "symmetric":
                return nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
            conv = PaddedConv(n_in, n_out, kernel, stride, groups=groups, nominal=self.nominal if padding == "static" else None)
            self.nominal = -(-self.nominal // stride)
            return conv

        self._conv_stem = padded(3, 48, 3, 2)
        self._bn0 = norm(48)
        self._blocks = nn.ModuleList()
        for blocks, kernel, stride, expand, wide_in, wide_out in self.STAGES:
            for b in range(blocks):
                first = (wide_in, wide_out, kernel, stride) if b == 0 else (wide_out, wide_out, kernel, 1)
                self._blocks.append(MBConv(*first, expand, norm, padded))
        self._conv_head = nn.Conv2d(448, 1792, 1, bias=False)
        self._bn1 = norm(1792)
        self.act_head = nn.SiLU()
        self._fc = nn.Linear(1792, n_out)

    def forward(self, x):
        x = F.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = self.act_head(self._bn1(self._conv_head(x)))
        return self._fc(x.mean((2, 3)))


def build(net, n_out, size=256):
    """size: pixels of the pictures; some networks depend on it."""
    if net.startswith("efficientnet_b4"):
        return EfficientNetB4(n_out, net[len("efficientnet_b4_") :] or "static")
    if net == "resnet50":
        return torchvision.models.resnet50(weights=None, num_classes=n_out)
    if net.startswith("vgg"):
        return getattr(torchvision.models, net)(weights=None, num_classes=n_out, init_weights=False, dropout=0.0)
    if net.startswith("f3net"):
        return F3Net(n_out, size, net == "f3net_both")
    return {"xception": Xception, "meso4": Meso4}[net](n_out)


# Where attention maps look: outputs of modules, by the name that cams.txt has for them.
CAM_NODES = {
    "resnet50": {"default": ["layer4"], "two": ["layer3", "layer4"]},
    "xception": {"default": ["act4"], "before_bn": ["conv4"], "bn": ["bn4"], "two": ["conv3", "conv4"]},
    "vgg16": {"default": ["features.29"]},
    "vgg16_bn": {"default": ["features.42"]},
    "f3net": {"default": ["FAD_xcep.act4"]},
    "meso4": {"default": ["pool4"]},
    "efficientnet_b4": {"default": ["act_head"], "before_bn": ["_conv_head"]},
}

# The last words of tensors that are no parameters and not of the formula.
CONSTANTS = ("_DCT_all", "_DCT_all_T", "_DCT_patch", "_DCT_patch_T", "base", "ft_num", "num_batches_tracked")
