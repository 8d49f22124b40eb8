"""Parsing of the command line: Caffe's flags with one dash, and hints for misspelt verbs and flags."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import suppress

import click

# The flags of glog, which all of Caffe's programs accept, and whether a value follows (logging.cc).
_GLOG = {"log_dir": True, "minloglevel": True, "logtostderr": False, "alsologtostderr": False}
# Caffe is one program: each verb accepts all flags, and uses some. All have values (tools/caffe.cpp).
_CAFFES_VERBS = ("train", "test", "time", "device-query")
_CAFFES = (
    *("gpu", "iterations", "level", "model", "phase", "sighup_effect", "sigint_effect", "snapshot", "solver", "stage"),
    "weights",
)
_NO = ("false", "f", "no", "n", "0")


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return known words that are similar to a misspelt one, the most similar first."""
    return difflib.get_close_matches(word.lower(), list(known), n=3, cutoff=0.6)


def asks_version(word: str) -> bool:
    """Return whether a word is gflags' ``-version``, with one dash or two."""
    name, _, value = word.partition("=")
    return name in ("-version", "--version") and value.lower() not in _NO


def two_dashes(ctx: click.Context, command: click.Command, args: Iterable[str]) -> list[str]:
    """Return a command's words with two dashes before each long flag.

    Caffe's flags are gflags' (tools/caffe.cpp): ``-solver x``, ``-solver=x``, ``--solver=x`` are the same, and so are
    ``-`` and ``_`` in a name. Flags with one dash that the command defines, such as ``-bw``, stay as they are, and so
    do the values of flags and all words after ``--``. Glog's flags are removed, with a line on stderr. So are flags of
    Caffe's other verbs, which Caffe ignores too.

    Raises:
        click.NoSuchOption: a word with one dash is not a flag of the command; the message names similar flags.
    """
    options = [option for option in command.get_params(ctx) if isinstance(option, click.Option)]
    flags = {name: option for option in options for name in option.opts}
    found, idle, of_others = list[str](), list[str](), list[str]()
    shared = _CAFFES if command.name in _CAFFES_VERBS else ()
    words = iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        long = f"--{name.lstrip('-').replace('_', '-')}"
        if word == "--":
            found += [word, *words]
            break
        known = long[2:].replace("-", "_")
        if name.startswith("-") and known in (*_GLOG, *shared) and long not in flags:
            if _GLOG.get(known, True) and not equals:
                next(words, None)
            (idle if known in _GLOG else of_others).append(f"-{known}")
            continue
        if name not in flags and name.startswith("-") and long in flags:
            name = long
            word = f"{name}{equals}{value}"
        elif name[:1] == "-" and name[1:2].isalpha() and not any(_begins(word, flag) for flag in flags):
            raise click.NoSuchOption(name, possibilities=nearest(long, flags), ctx=ctx)
        found.append(word)
        if name in flags and not equals:
            found += _values(flags[name], words)
    if idle:
        click.echo(
            f"note: {', '.join(idle)}: glog's, of no effect here: messages go to the screen, `train --log FILE` writes "
            "a file",
            err=True,
        )
    if of_others:
        click.echo(f"note: {', '.join(of_others)}: of no effect with {command.name}, as in Caffe", err=True)
    return found


def _begins(word: str, flag: str) -> bool:
    """Return whether the word is the flag and its value in one, as ``-i10``."""
    return word.startswith(flag) and not flag.startswith("--")


def _values(option: click.Option, words: Iterator[str]) -> Iterator[str]:
    """Take a flag's values from the words; leave the word after a flag with an optional value to be parsed."""
    if option.is_flag or option.count or isinstance(option.flag_value, str):
        return
    for _ in range(option.nargs):
        with suppress(StopIteration):
            yield next(words)
