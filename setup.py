"""The optional C extension; everything else stands in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("defect_detect/native")

setup(
    ext_modules=[
        Extension(
            "defect_detect.native._compiled",
            sources=sorted(str(path) for path in NATIVE.glob("*.c")),
            depends=sorted(str(path) for path in NATIVE.glob("*.h")),
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            # A fused multiply-add rounds once where NumPy rounds twice; the results are to be the same.
            extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
