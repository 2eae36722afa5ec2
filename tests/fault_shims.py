"""Faults that only the C library can be made to show: a failing fsync, a wall clock that was stepped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FSYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) { const char *f = getenv("SHIM_FILE"); return f && access(f, F_OK) == 0; }
int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""

_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long offset(void) {
    char text[32] = {0};
    const char *path = getenv("SHIM_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    close(fd);
    return atol(text);
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(id, now);
    if (!failed && id == CLOCK_REALTIME) now->tv_sec += offset();
    return failed;
}
"""


def environment(folder: Path, what: str) -> dict[str, str]:
    """Environment that puts a shim before the C library; ``SHIM_FILE`` steers it. Skips where none can be built.

    Args:
        what: ``fsync``: it fails while the file exists. ``clock``: the file holds seconds to add to the wall clock.
    """
    compiler = shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip(f"NOT TESTED: a faulty {what}, because there is no C compiler (cc) or no LD_PRELOAD here")
    source, library = folder / f"{what}.c", folder / f"{what}.so"
    source.write_text({"fsync": _FSYNC, "clock": _CLOCK}[what], encoding="ascii")
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"NOT TESTED: a faulty {what}, because the shim does not compile: {built.stderr[:500]}")
    return {"LD_PRELOAD": str(library), "SHIM_FILE": str(folder / f"{what}.switch")}
