"""What bash, zsh and fish read to complete ``flowd``, and how they are answered: click's own, where that falls short.

Words with ``:`` and ``=`` in them, as ids of events have them, are whole words here: readline takes them apart. Files
of events are offered beside folders, and no others.
"""

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from flowd.cli.names import JSON_FILES

if TYPE_CHECKING:
    import click

VARIABLE = "_FLOWD_COMPLETE"
_KNOWS_JSON = "_FLOWD_COMPLETE_JSON"
_PART = "_FLOWD_COMPLETE_PART"
"""What bash's line editor replaces, as it was typed: of a word, what stands behind the last ``:`` or ``=``."""

_ESCAPED = re.compile(r"\\.")
_BARE = re.compile(r"[^A-Za-z0-9_@%+=:,./\u0080-\U0010ffff-]")
_IN_DOUBLE_QUOTES = re.compile(r'[\\"$`]')

_BASH = r"""
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} cur=${COMP_WORDS[COMP_CWORD]} completion
    COMPREPLY=()
    [[ $cur == [:=] ]] && cur=''
    local bare=${cur#[\"\']}
    while IFS= read -r completion; do
        case ${completion%%%%,*} in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            json)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -X '!*.json' -- "$bare"; compgen -d -- "$bare") ;;
            plain) COMPREPLY+=("${completion#*,}") ;;
        esac
    done < <(env COMP_LINE="$line" _FLOWD_COMPLETE_JSON=1 _FLOWD_COMPLETE_PART="$cur" \
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s

%(complete_func)s() {
    local -a plain described response
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1
    local -x COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) _FLOWD_COMPLETE_JSON=1 %(complete_var)s=zsh_complete
    response=("${(@f)$(%(prog_name)s)}")
    for type key descr in ${response}; do
        case $type in
            plain) if [[ $descr == _ ]]; then plain+=("$key"); else described+=("$key":"$descr"); fi ;;
            dir) compset -P '*='; _path_files -/ ;;
            file) compset -P '*='; _path_files -f ;;
            json) compset -P '*='; _path_files -g '*.json' ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
    return 0
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"  # autoloaded from fpath
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""
function %(complete_func)s
    set -lx _FLOWD_COMPLETE_JSON 1
    set -lx %(complete_var)s fish_complete
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    set -l response (%(prog_name)s)
    for completion in $response
        set -l metadata (string split -m 1 "," $completion)
        switch $metadata[1]
            case dir
                __fish_complete_directories $metadata[2]
            case file
                __fish_complete_path $metadata[2]
            case json
                __fish_complete_suffix .json
            case plain
                echo $metadata[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Whole(ShellComplete):
    """Answers with whole words: of ``--flow=re``, too, of which click completes the value alone."""

    def get_completions(self, args: list[str], incomplete: str) -> "list[CompletionItem]":
        """As click, with what stands before the value; all files where the shell's script knows of no others.

        Nothing with a character that is not printed, as ids may have: shells write these in ways that let what stands
        beside them be executed (bash, in a word that begins with a quote), and some are obeyed by terminals.
        """
        found = [item for item in super().get_completions(args, incomplete) if str(item.value).isprintable()]
        name, equals, _ = incomplete.partition("=")
        is_old = not os.environ.get(_KNOWS_JSON)
        for item in found:
            if item.type == JSON_FILES and is_old:
                item.type = "file"
            elif item.type == "plain" and equals and name.startswith("-"):
                item.value = f"{name}={item.value}"
        return found


class Bash(_Whole, BashComplete):
    """bash, with or without bash-completion."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and that one, as the shell splits the line, not as readline does."""
        line = os.environ.get("COMP_LINE")
        if line is None:  # a script from before an update
            return super().get_completion_args()
        words = split_arg_string(line)
        is_new = line[-1:].isspace() and not line.endswith("\\ ")
        incomplete = "" if is_new or len(words) < 2 else words.pop()
        return words[1:], incomplete

    def complete(self) -> str:
        """The answer: behind ``plain,`` what is to be inserted, quoted as the word is.

        The script of an earlier flowd quotes by itself, and is told the word that is completed.
        """
        part = os.environ.get(_PART)
        if part is None:
            said = super().complete()
            return f"word,{self.get_completion_args()[1]}\n{said}" if os.environ.get(_KNOWS_JSON) else said
        args, incomplete = self.get_completion_args()
        line = os.environ.get("COMP_LINE", "")
        before = _last_word(line[: len(line) - len(part)]) if line.endswith(part) else ""
        found = self.get_completions(args, incomplete)
        answers = (_inserted(item, before, part) if item.type == "plain" else item.value for item in found)
        return "\n".join(f"{item.type},{said}" for item, said in zip(found, answers, strict=True) if said is not None)


def _last_word(line: str) -> str:
    """Of a word that goes on behind a line, what stands in the line.

    >>> _last_word("flowd event release:"), _last_word("flowd event "), _last_word("flowd event a\\\\ b:")
    ('release:', '', 'a b:')
    """
    words = split_arg_string(f"{line}.")
    return words[-1][:-1] if words else ""


def _inserted(item: CompletionItem, before: str, part: str) -> str | None:
    """What takes the place of a part of a word; None where that cannot be told."""
    quote = part[0] if part[:1] in ("'", '"') else ""
    is_quoted_within = not quote and not {"'", '"'}.isdisjoint(_ESCAPED.sub("", part))
    if is_quoted_within or not str(item.value).startswith(before):
        return None
    return quoted(str(item.value)[len(before) :], quote)


def quoted(text: str, quote: str) -> str:
    r"""A text as bash takes it for itself behind this quote, which bash's line editor closes; nothing is executed.

    >>> print(quoted("$(x)'", ""), quoted("$(x)'", "'"), quoted("$(x)!", '"'))
    \$\(x\)\' $(x)'\''' \$(x)"\!""
    """
    if not quote:
        return _BARE.sub(r"\\\g<0>", text)
    if quote == "'":
        found = text.replace("'", r"'\''")
    else:
        # A backslash before ! would stay, and without one it is a word of the history.
        found = _IN_DOUBLE_QUOTES.sub(r"\\\g<0>", text).replace("!", r'"\!"')
    return found + quote if found.endswith(quote) else found  # what ends with a quote counts there as closed


class Zsh(_Whole, ZshComplete):
    """zsh."""

    source_template = _ZSH


class Fish(_Whole, FishComplete):
    """fish."""

    source_template = _FISH


SHELLS: Sequence[type[ShellComplete]] = (Bash, Zsh, Fish)

for _shell in SHELLS:
    add_completion_class(_shell)


def script(shell: str, cli: "click.Command") -> str:
    """What a shell reads."""
    kind = next(kind for kind in SHELLS if kind.name == shell)
    # Without its `source`, which asks bash for its version: there need be none here.
    completer = kind(cli, {}, "flowd", VARIABLE)
    return completer.source_template % completer.source_vars()
