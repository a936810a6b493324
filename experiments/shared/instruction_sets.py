"""Which instructions the numeric libraries use: the same code gives other last bits with AVX-512 than with AVX2.

Each library picks the widest instructions of the processor that it finds. An arm that misses by a hair on one machine
then grasps on another. So the choice is part of what a result depends on, and it can be pinned.
"""

import os
import platform

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""Environment of a process in which torch, MKL, oneDNN, NumPy and OpenBLAS use AVX2 and nothing wider. Every x86 server
since 2013 (Intel Haswell, AMD Zen) has AVX2. Libraries read it when they are imported."""

ONEDNN_FEATURES = ("avx2", "avx_vnni", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile")


def instruction_sets() -> dict[str, str]:
    """What each library uses in this process, by its name; "none" for MKL where torch has no MKL.

    oneDNN does not tell: it is what the processor has, unless the environment limits it.

    Example:
        >>> instruction_sets()  # doctest: +SKIP
        {'torch': 'AVX512', 'mkl': '14', 'onednn': 'avx2 avx512_f', 'numpy': 'X86_V3 X86_V4', 'openblas': 'SkylakeX'}
    """
    import torch
    from numpy.lib import introspect
    from threadpoolctl import threadpool_info

    loops = introspect.opt_func_info()
    numpy_sets = {loop["current"] for signatures in loops.values() for loop in signatures.values()}
    blas = {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    return {
        "processor": platform.machine(),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "mkl": _mkl(),
        "onednn": os.environ.get("ONEDNN_MAX_CPU_ISA") or _processor(),
        "numpy": " ".join(sorted(numpy_sets)),
        "openblas": " ".join(sorted(blas)),
    }


def _mkl() -> str:
    """The code branch of the MKL that is linked into torch: 10 is AVX2, 14 is AVX-512 (mkl_cbwr.h of oneMKL)."""
    import ctypes
    from pathlib import Path

    import torch

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return str(library.mkl_serv_cbwr_get_auto_branch())
    except (OSError, AttributeError):
        return "none"


def _processor() -> str:
    import torch

    has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return " ".join(name for name in ONEDNN_FEATURES if has.get(name)) or "unknown"
