"""Reading the machine from made-up /proc and /sys trees, and from this one."""

from pathlib import Path

import pytest

from models.hardware import Gpu, cpu_list, read_hardware

GIB = 1 << 30


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(root: Path, **more: str) -> Path:
    """Two cores with two threads each, 16 GiB of memory of which 12 are free."""
    files = {
        "proc/meminfo": f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {12 * GIB // 1024} kB\n",
        "proc/cpuinfo": (
            "processor : 0\nmodel name : Test CPU: 9000\nflags : fpu avx2 fma avx512f\n\n"
            "processor : 1\nmodel name : Other\nflags : none\n"
        ),
        "proc/self/status": "Name:\tx\nCpus_allowed_list:\t0-3\n",
        "sys/devices/system/cpu/online": "0-3\n",
    }
    for cpu, pair in enumerate(("0,2", "1,3", "0,2", "1,3")):
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = pair + "\n"
    return make(root, files | {name.replace("__", "/"): text for name, text in more.items()})


def test_a_plain_machine(tmp_path: Path) -> None:
    found = read_hardware(machine(tmp_path))
    assert found.cpu_name == "Test CPU: 9000"
    assert found.cpu_flags == ("avx2", "avx512f", "fma")
    assert (found.logical_cores, found.physical_cores) == (4, 2)
    assert (found.memory_total, found.memory_available) == (16 * GIB, 12 * GIB)
    assert (found.cpu_quota, found.on_battery, found.gpus) == (None, None, ())
    assert found.to_json()["memory_total"] == 16 * GIB


def test_only_cores_that_this_process_may_use_count(tmp_path: Path) -> None:
    root = machine(tmp_path)
    make(root, {"proc/self/status": "Cpus_allowed_list:\t0,2\n"})
    assert read_hardware(root).logical_cores == 2
    assert read_hardware(root).physical_cores == 1


def test_a_group_of_version_2_limits_memory_without_its_cache(tmp_path: Path) -> None:
    root = machine(tmp_path)
    group = "sys/fs/cgroup/outer/inner"
    make(
        root,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            f"{group}/memory.max": "max\n",
            "sys/fs/cgroup/outer/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/outer/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/outer/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    found = read_hardware(root)
    assert (found.memory_total, found.memory_available) == (4 * GIB, 3 * GIB)
    assert found.cpu_quota == 1.5


def test_a_group_of_version_1_limits_memory(tmp_path: Path) -> None:
    root = machine(tmp_path)
    make(
        root,
        {
            "proc/self/cgroup": "5:memory:/box\n0::/\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    found = read_hardware(root)
    assert (found.memory_total, found.memory_available) == (2 * GIB, GIB)
    assert found.cpu_quota is None


def test_a_container_that_sees_its_group_as_the_root_is_limited(tmp_path: Path) -> None:
    root = machine(tmp_path)
    make(root, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"})
    assert read_hardware(root).memory_total == GIB
    make(root, {"proc/self/cgroup": "0::/not/../seen\n"})
    assert read_hardware(root).memory_total == GIB


@pytest.mark.parametrize(
    ("mains", "battery", "expected"),
    [("1", "Charging", False), ("0", "Discharging", True), (None, "Discharging", True),
     (None, "Full", False)],
)  # fmt: skip
def test_a_battery_is_noticed(
    tmp_path: Path, mains: str | None, battery: str, expected: bool
) -> None:
    supply = "sys/class/power_supply"
    files = {f"{supply}/BAT0/type": "Battery\n", f"{supply}/BAT0/status": f"{battery}\n"}
    files |= {f"{supply}/mouse/type": "Battery\n", f"{supply}/mouse/scope": "Device\n"}
    if mains is not None:
        files |= {f"{supply}/AC/type": "Mains\n", f"{supply}/AC/online": f"{mains}\n"}
    assert read_hardware(make(machine(tmp_path), files)).on_battery is expected


def test_graphics_cards_are_listed_once(tmp_path: Path) -> None:
    drm = "sys/class/drm"
    root = make(
        machine(tmp_path),
        {
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t Big Card\nIRQ: 1\n",
            f"{drm}/card0/device/vendor": "0x10de\n",
            f"{drm}/card1/device/vendor": "0x1002\n",
            f"{drm}/card1/device/device": "0x744c\n",
            f"{drm}/card1/device/mem_info_vram_total": f"{8 * GIB}\n",
            f"{drm}/card1-DP-1/device/vendor": "0x1002\n",
            f"{drm}/card2/device/vendor": "0x1234\n",
        },
    )
    assert read_hardware(root).gpus == (Gpu("NVIDIA", "Big Card"), Gpu("AMD", "0x744c", 8 * GIB))


def test_files_of_nonsense_break_nothing(tmp_path: Path) -> None:
    noise = "\x00\xff: : 99999999999999999999999 kB\n\n:::\n-1\n"
    root = make(
        machine(tmp_path),
        dict.fromkeys(
            ("proc/meminfo", "proc/cpuinfo", "proc/self/status", "proc/self/cgroup",
             "sys/fs/cgroup/memory.max", "sys/fs/cgroup/cpu.max",
             "sys/devices/system/cpu/online", "sys/class/power_supply/x/type"),
            noise,
        ),
    )  # fmt: skip
    found = read_hardware(root)
    assert found.logical_cores == 1
    assert found.memory_total == 0


def test_a_list_of_cores_is_read_strictly() -> None:
    assert cpu_list("0-2,8") == {0, 1, 2, 8}
    assert cpu_list("0-999999") == set()
    assert cpu_list("0,x") == set()
    assert cpu_list("") == set()


def test_this_machine_and_the_fall_back_give_sensible_numbers(tmp_path: Path) -> None:
    for found in (read_hardware(), read_hardware(tmp_path)):
        assert 1 <= found.physical_cores <= found.logical_cores
        assert 0 < found.memory_available <= found.memory_total
