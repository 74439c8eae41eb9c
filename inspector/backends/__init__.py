"""Engines: one ONNX graph a recipe, run by whichever runtime this machine has."""
