"""What can be bought: sensors, links and GPUs, with figures of standards and data sheets. None was connected here."""

from __future__ import annotations

from dataclasses import dataclass

# Pixels of line-scan sensors as they are sold: 2k, 4k, 8k, 16k.
SENSORS_PX = (2048, 4096, 8192, 16384)

# Of what the wire carries. GVSP packets of 1500 bytes spend 5 % on Ethernet, IP, UDP and GVSP headers (1464 of 1538
# bytes are pixels), CoaXPress packets less; the rest is left for resends and pauses.
USABLE = 0.9


@dataclass(frozen=True, slots=True)
class Link:
    """From a camera to this machine."""

    name: str
    mb_s: float  # of pixels, that can be counted on; MB are 1e6 bytes


LINKS = (  # slowest first: the first that carries a camera is named
    Link("GigE", USABLE * 1000 / 8),
    Link("2.5GigE", USABLE * 2500 / 8),
    # USB 3.0: 5 Gbit/s in 8b/10b are 500 MB/s; makers of USB3 Vision cameras promise 300 to 400 of them.
    Link("USB3", 350.0),
    Link("5GigE", USABLE * 5000 / 8),
    # CoaXPress 1.1: 6.25 Gbit/s a cable, in 8b/10b; CoaXPress 2.0: 12.5.
    Link("CXP-6", USABLE * 6250 / 10),
    Link("10GigE", USABLE * 10000 / 8),
    Link("CXP-6 x4", USABLE * 4 * 6250 / 10),
    Link("CXP-12 x4", USABLE * 4 * 12500 / 10),
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """As its data sheet has it."""

    name: str
    tflops: float  # fp16, dense, tensor cores: peak
    gb_s: float  # of its memory: peak


GPUS = (
    Gpu("NVIDIA T4", 65.0, 320.0),  # product brief: 65 TFLOPS mixed precision, up to 320 GB/s
    Gpu(
        "NVIDIA L4", 121.0, 300.0
    ),  # data sheet: 242 TFLOPS fp16 with sparsity, so half of it dense; 300 GB/s
)
