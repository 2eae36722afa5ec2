"""Faults that only the C library can be made to show: a failing fsync, a wall clock that was stepped,
too many processes."""

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

_SPAWN = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>
static int refuses(void) {
    const char *path = getenv("SHIM_FILE");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    if (write(fd, "x", 1) != 1) abort();
    close(fd);
    return 1;
}
typedef int spawn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                  char *const *, char *const *);
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                char *const *argv, char *const *env) {
    return refuses() ? EAGAIN : ((spawn *)dlsym(RTLD_NEXT, "posix_spawn"))(pid, path, actions, how, argv, env);
}
pid_t fork(void) {
    if (refuses()) { errno = EAGAIN; return -1; }
    return ((pid_t (*)(void))dlsym(RTLD_NEXT, "fork"))();
}
"""


def environment(folder: Path, what: str) -> dict[str, str]:
    """Environment that puts a shim before the C library; ``SHIM_FILE`` steers it. Skips where none can be built.

    Args:
        what: ``fsync``: it fails while the file exists. ``clock``: the file holds seconds to add to the wall clock.
            ``spawn``: there are too many processes while the file exists, and each refusal adds a byte to it.
    """
    compiler = shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip(f"NOT TESTED: a faulty {what}, because there is no C compiler (cc) or no LD_PRELOAD here")
    source, library = folder / f"{what}.c", folder / f"{what}.so"
    source.write_text({"fsync": _FSYNC, "clock": _CLOCK, "spawn": _SPAWN}[what], encoding="ascii")
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"NOT TESTED: a faulty {what}, because the shim does not compile: {built.stderr[:500]}")
    return {"LD_PRELOAD": str(library), "SHIM_FILE": str(folder / f"{what}.switch")}
