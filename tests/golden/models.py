"""models.py - the networks as PyTorch modules, with the parameter names of their public checkpoints. No dropout."""
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
    def __init__(self, n_out):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
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

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        for i in range(1, 13):
            x = getattr(self, f"block{i}")(x)
        x = F.relu(self.bn3(self.conv3(x)))
        x = self.act4(self.bn4(self.conv4(x)))
        return self.fc(x.mean((2, 3)))


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


def build(net, n_out):
    if net == "resnet50":
        return torchvision.models.resnet50(weights=None, num_classes=n_out)
    if net.startswith("vgg"):
        return getattr(torchvision.models, net)(weights=None, num_classes=n_out, init_weights=False, dropout=0.0)
    return {"xception": Xception, "meso4": Meso4}[net](n_out)


# Where attention maps look: outputs of modules, by the name that cams.txt has for them.
CAM_NODES = {
    "resnet50": {"default": ["layer4"], "two": ["layer3", "layer4"]},
    "xception": {"default": ["act4"], "before_bn": ["conv4"], "bn": ["bn4"], "two": ["conv3", "conv4"]},
    "vgg16": {"default": ["features.29"]},
    "vgg16_bn": {"default": ["features.42"]},
    "meso4": {"default": ["pool4"]},
}
