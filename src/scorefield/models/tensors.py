"""Tensors in a file: safetensors, there whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from scorefield.atomic import whole_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a .safetensors file.

    Arguments:
        path: where the file is to be.
        tensors: what is in it, by name.
        header: what it says of itself.

    Raises:
        InputError: when the path cannot be written; with the size, for a disk that is full.
    """
    laid_out = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as temporary:
        try:
            save_file(laid_out, temporary, metadata=dict(header))
        except SafetensorError as error:
            # The system's own error is in its words only.
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            size = sum(tensor.nbytes for tensor in laid_out.values())
            reason = f"{os.strerror(int(code[1]))}, {size / 1e6:,.1f} MB needed"
            raise OSError(int(code[1]), reason) from error
