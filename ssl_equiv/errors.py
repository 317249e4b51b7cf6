"""What a user can mend is told in one line."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, named with its place and its mend in one line; the CLI prints it and exits 2."""


class Preempted(Exception):
    """A signal asked the run to end, and its state is saved; ``step`` tells which."""

    def __init__(self, signal: str, step: int, saved: bool) -> None:
        super().__init__(signal, step, saved)
        self.signal, self.step, self.saved = signal, step, saved


def user_error(error: BaseException | None) -> UserError | None:
    """The UserError that caused an exception, where a library has wrapped one in its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            # a loader's worker sends its whole traceback as the message; the last line counts
            return UserError(str(error).rsplit("errors.UserError: ", 1)[-1])
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
