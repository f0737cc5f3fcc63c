"""Importing this loads torch and open_clip: a fork server that has done so starts jobs in a blink."""

from embed.encoders.torchvision_shim import import_open_clip, import_torch

import_torch()
import_open_clip()
