"""What a step may use of the machine, as its manifest asks."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one step. None leaves what the daemon was started with.

    Attributes:
        memory_bytes: Of the whole process tree where its cgroup has a memory controller; else address space, of each
            process by itself.
        cpu_time_s: Processor time of each process; then SIGXCPU, and SIGKILL a second later.
        cpu_percent: Processor time of the whole tree while as much passes on the clock, 100 for one core all the time.
            Only a cgroup with a cpu controller can keep it.
        open_files: Descriptors of each process.
        processes: Processes and threads of the whole tree where its cgroup has a pids controller; else so many more
            than the user runs when the step starts.
        file_bytes: Size of any file that is written to; then SIGXFSZ.
        niceness: From -20 (privileged) to 19, which yields to everybody.
        umask: Permission bits that new files do not get.
    """

    memory_bytes: int | None = None
    cpu_time_s: int | None = None
    cpu_percent: int | None = None
    open_files: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    niceness: int | None = None
    umask: int | None = None

    def asked(self) -> dict[str, int]:
        """Those that are asked for.

        >>> Limits(open_files=64, umask=0o027).asked()
        {'open_files': 64, 'umask': 23}
        """
        return {name: value for name, value in asdict(self).items() if value is not None}
