"""End the program and all processes it has started when it is stopped by a signal."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

PATIENCE = 3.0
"""Seconds after which a program that has not stopped is stopped again."""

SIGNALS = {"SIGINT": "Ctrl-C", "SIGTERM": "a scheduler or kill", "SIGHUP": "a closed terminal"}


class Stopped(KeyboardInterrupt):
    """A signal has stopped the program.

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
        """128 plus the number of the signal: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self):
        name = self.number.name
        return (
            f"Stopped by {SIGNALS.get(name, 'a signal')} ({name}) before the end. What is finished "
            "is kept: run the same command again to go on."
        )


@contextmanager
def stoppable():
    """Convert signals that stop the program to `Stopped`, after ending its processes.

    Python ignores exceptions raised during the deletion of an object; therefore `Stopped` is
    raised again until the block ends. A second signal ends the program immediately.

    Raises
    ------
    Stopped
    """
    import psutil

    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only
        return
    older = set(psutil.Process().children())

    def stop(number, _):
        for name in SIGNALS:
            signal.signal(getattr(signal, name), lambda again, _: os._exit(128 + again))
        signal.signal(signal.SIGALRM, lambda *_: end(number))
        signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
        end(number)

    def end(number):
        end_children(older)
        raise Stopped(number)

    before = {name: signal.signal(getattr(signal, name), stop) for name in SIGNALS}
    before["SIGALRM"], hook = signal.getsignal(signal.SIGALRM), sys.unraisablehook
    sys.unraisablehook = lambda dropped: (
        None if isinstance(dropped.exc_value, Stopped) else hook(dropped)
    )
    try:
        yield
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        end_children(older)  # those that were being started when the signal came
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
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
            # The tracker of multiprocessing cleans up after killed processes.
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
    """Let only this process handle Ctrl-C: processes started in the block ignore it.

    A terminal sends it to all processes; a worker that is just starting would print a traceback.
    `stoppable` ends the workers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
