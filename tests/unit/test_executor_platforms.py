"""Which wheels run in an image."""

import pytest

from services.executor.failures import InstallFailedError
from services.executor.platforms import wheel_platform


@pytest.mark.parametrize(
    ("machine", "libc", "platform"),
    [
        ("x86_64", ["glibc", "2.17"], "x86_64-manylinux_2_17"),
        ("x86_64", ["glibc", "2.27"], "x86_64-manylinux_2_17"),
        ("x86_64", ["glibc", "2.28"], "x86_64-manylinux_2_28"),
        ("aarch64", ["glibc", "2.36"], "aarch64-manylinux_2_36"),
        ("x86_64", ["glibc", "2.41"], "x86_64-manylinux_2_40"),
        ("x86_64", ["glibc", "2.99"], "x86_64-manylinux_2_40"),
    ],
)
def test_a_platform_is_never_newer_than_the_image(
    machine: str, libc: list[object], platform: str
) -> None:
    """The newest platform that uv knows and the image's glibc runs is taken."""
    assert wheel_platform(machine, libc) == platform


@pytest.mark.parametrize(
    ("machine", "libc"),
    [
        ("x86_64", ["glibc", "2.16"]),
        ("x86_64", ["glibc", "2.5"]),
        ("x86_64", ["glibc", "3.0"]),
        ("x86_64", ["glibc", "2"]),
        ("x86_64", ["glibc", "2.x"]),
        ("x86_64", ["glibc", "2.²"]),
        ("x86_64", ["glibc", None]),
        ("x86_64", ["musl", "1.2"]),
        ("x86_64", ["", ""]),
        ("x86_64", []),
        ("riscv64", ["glibc", "2.36"]),
        ("x86_64; rm -rf /", ["glibc", "2.36"]),
    ],
)
def test_an_image_without_wheels_is_refused_in_words(machine: str, libc: list[object]) -> None:
    """An older or another C library, another machine, and nonsense get a plain answer."""
    with pytest.raises(InstallFailedError, match="There are no wheels"):
        wheel_platform(machine, libc)
