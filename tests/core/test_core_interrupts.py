"""SIGTERM, SIGUSR1 and Ctrl-C end a stage, or wait for the next good moment where a loop asks for that."""

import os
import signal
import sys
import time

import pytest

from steps.core.interrupts import end_on_sigterm, held_interrupts


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_ends_raises_once(number):
    end_on_sigterm()
    with pytest.raises(KeyboardInterrupt):
        _send(number)
    _send(signal.SIGTERM)  # while things are tidied up
    _send(signal.SIGUSR1)


class _Destroyed:
    """Python drops what its end raises, so also an interrupt that comes just then."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        _send(self.number)
        time.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_an_interrupt_that_python_drops_comes_again(number):
    def work():
        _Destroyed(number)
        time.sleep(5)

    end_on_sigterm()
    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_else_python_drops_is_said_as_ever(capsys):
    end_on_sigterm()
    broken = type("Broken", (), {"__del__": lambda self: 1 / 0})
    broken()
    assert "ZeroDivisionError" in capsys.readouterr().err


def _count(number, steps):
    """A loop to which a signal comes in its third step; it saves and stops when it is told to."""
    with held_interrupts() as asked_to_stop:
        for step in range(5):
            if step == 2:
                _send(number)
            steps.append(step)
            if asked_to_stop():
                raise KeyboardInterrupt("saved")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_loop_is_told_and_not_interrupted(number):
    end_on_sigterm()
    steps = []
    with pytest.raises(KeyboardInterrupt, match="saved"):
        _count(number, steps)
    assert steps == [0, 1, 2]


def test_a_second_ctrl_c_interrupts_at_once():
    steps = []
    with pytest.raises(KeyboardInterrupt), held_interrupts():  # noqa: PT012
        _send(signal.SIGINT)
        steps.append(1)
        _send(signal.SIGINT)
        steps.append(2)
    assert steps == [1]


def test_an_interrupt_that_nobody_asked_for_comes_at_the_end_of_the_block():
    done = False
    with pytest.raises(KeyboardInterrupt), held_interrupts():  # noqa: PT012
        _send(signal.SIGTERM)
        done = True
    assert done


def test_without_an_interrupt_all_is_as_before():
    end_on_sigterm()
    with held_interrupts() as asked_to_stop:
        assert not asked_to_stop()
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGTERM)
