"""What the tests do about a machine that stands still by itself."""

from pathlib import Path

import pytest

from tests.support.stalls import LEAST_SECONDS, count, cut_short

LOG = """\
[   12.000001] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[11299.078189] EXT4-fs (loop3): mounted filesystem
[11395.250112] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[11395.250119] rcu: rcu_preempt kthread starved for 14752 jiffies!
[11500.100000][   T15] rcu: INFO: rcu_sched self-detected stall on CPU
"""


def test_the_watch_is_put_back(tmp_path: Path) -> None:
    """The kernel's own number comes back, whatever happens meanwhile."""
    watch = tmp_path / "timeout"
    watch.write_text("59\n")
    during = ""

    def interrupted() -> None:
        nonlocal during
        with cut_short(watch):
            during = watch.read_text()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert during == f"{LEAST_SECONDS}\n"
    assert watch.read_text() == "59\n"


def test_a_watch_that_looks_soon_stays_so(tmp_path: Path) -> None:
    """Whoever set it puts it back: another run of the tests, or the operator."""
    watch = tmp_path / "timeout"
    watch.write_text("59\n")
    with cut_short(watch):
        with cut_short(watch):
            pass
        between = watch.read_text()

    assert between == f"{LEAST_SECONDS}\n"
    assert watch.read_text() == "59\n"


def test_a_kernel_without_the_watch(tmp_path: Path) -> None:
    """Nothing is made where there is none."""
    with cut_short(tmp_path / "none" / "timeout"):
        pass

    assert not list(tmp_path.iterdir())


def test_stalls_are_counted_from_a_time_on() -> None:
    """Each is told once, and those of before the tests are not theirs."""
    assert [count(LOG, at) for at in (0, 11_300, 11_396, 12_000)] == [3, 2, 1, 0]
