"""Engines: one ONNX graph a recipe, compiled for this machine, run by the runtime that the config names.

    recipe.toml + model.onnx ──build_engine──▶ manifest.toml + plans/ ──open_backend──▶ Backend
                                openvino.py     CPU, the default
                                onnxruntime.py  CPU, the fallback and the reference
                                tensorrt.py     NVIDIA GPU (typed, tensorrt_runtime, gpu)

What this package does not know: cameras, tiling, limits, how a graph is trained.
"""

from inspector.backends.building import build_engine
from inspector.backends.opening import failures_told, open_backend
from inspector.backends.runtime import BACKENDS

__all__ = ["BACKENDS", "build_engine", "failures_told", "open_backend"]
