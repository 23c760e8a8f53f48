"""Parts of the peers without packages that they import and that the parts used here never call."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types


def k_diffusion_sampling():
    """k_diffusion.sampling without its package, which imports all that training needs.

    What sampling.py and utils.py import and the samplers used here never call is left empty:
    torchvision (images), torchdiffeq (likelihoods), torchsde (seeded Brownian paths; noise is given).
    """
    _torchvision()
    for name in ("torchdiffeq", "torchsde"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdiffeq"].odeint = None
    package = types.ModuleType("k_diffusion")
    package.__path__ = importlib.util.find_spec("k_diffusion").submodule_search_locations
    sys.modules["k_diffusion"] = package
    return importlib.import_module("k_diffusion.sampling")


def denoising_diffusion():
    """denoising_diffusion_pytorch's main module, without the package around it and without torchvision.

    That is for files of images, of which there are none here.
    """
    _torchvision()
    name = "denoising_diffusion_pytorch"
    package = types.ModuleType(name)
    package.__path__ = importlib.util.find_spec(name).submodule_search_locations
    sys.modules[name] = package
    return importlib.import_module(f"{name}.{name}")


def _torchvision() -> None:
    root = sys.modules["torchvision"] = types.ModuleType("torchvision")
    for part in ("transforms", "utils"):
        module = sys.modules[f"torchvision.{part}"] = types.ModuleType(f"torchvision.{part}")
        setattr(root, part, module)
    root.transforms.functional = None
