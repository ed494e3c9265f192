"""End the program and all processes it has started, when somebody stops it."""

import os
import signal
import threading
from contextlib import contextmanager

SIGNALS = {"SIGINT": "Ctrl-C", "SIGTERM": "a scheduler or kill", "SIGHUP": "a closed terminal"}


class Stopped(KeyboardInterrupt):
    """Say that a signal has stopped the program.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number=signal.SIGINT):
        super().__init__(number)
        self.number = signal.Signals(number)

    @property
    def exit_code(self):
        """128 and the number of the signal: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self):
        name = self.number.name
        return (
            f"Stopped by {SIGNALS.get(name, 'a signal')} ({name}) before the end. What is finished "
            "is kept: run the same command again to go on."
        )


@contextmanager
def stoppable():
    """Turn signals that stop the program into `Stopped`, and end its processes first.

    A second signal ends the program at once.

    Raises
    ------
    Stopped
    """
    import psutil

    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread only
        return
    older = set(psutil.Process().children())

    def stop(number, _):
        for name in SIGNALS:
            signal.signal(getattr(signal, name), lambda again, _: os._exit(128 + again))
        end_children(older)
        raise Stopped(number)

    before = {name: signal.signal(getattr(signal, name), stop) for name in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        end_children(older)  # those that were being started when the signal came
        raise
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def end_children(spared=()):
    """Kill the processes that this one has started, and theirs.

    Parameters
    ----------
    spared : set of psutil.Process
        Children that are left alone.
    """
    import psutil

    for child in psutil.Process().children():
        try:
            # The tracker of multiprocessing cleans up behind those that were killed.
            if child in spared or "multiprocessing.resource_tracker" in " ".join(child.cmdline()):
                continue
            family = [child, *child.children(recursive=True)]
        except psutil.Error:
            continue
        for process in family:
            try:
                process.kill()
            except psutil.Error:
                continue


@contextmanager
def answering_alone():
    """Leave Ctrl-C to this process: those that are started meanwhile never hear of it.

    A terminal sends it to all processes; a worker that is just being started could only answer
    with a traceback. `stoppable` ends the workers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
