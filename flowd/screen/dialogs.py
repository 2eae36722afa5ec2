"""What the screen asks before it does something: yes or no, one of several, or a line of text. Escape leaves it."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from flowd.formats.terminal import escaped

T = TypeVar("T")


class Choice(NamedTuple, Generic[T]):
    """Something to choose: its words, and what it means."""

    words: str
    value: T


class Choose(ModalScreen[T | None], Generic[T]):
    """Asks for one of several, with the arrow keys or by its number; None where the reader leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,n", "leave", "No"),
        ("j", "move('down')", "Down"),
        ("k", "move('up')", "Up"),
        *((str(number), f"take({number})", "") for number in range(1, 10)),
    ]

    def __init__(self, question: str, choices: Sequence[Choice[T]]) -> None:
        super().__init__()
        self._question = question
        self._choices = choices

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(escaped(self._question)), classes="question")
            yield OptionList(
                *(Option(Text(escaped(f"{number}  {choice.words}"))) for number, choice in enumerate(self._choices, 1))
            )
            yield Static("Enter does it, Escape leaves it.", classes="hint")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the one that is chosen."""
        self.dismiss(self._choices[event.option_index].value)

    def action_take(self, number: int) -> None:
        """Take one by its number."""
        if number <= len(self._choices):
            self.dismiss(self._choices[number - 1].value)

    def action_move(self, where: str) -> None:
        """Go down or up."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if where == "down" else options.action_cursor_up()

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)


class Confirm(Choose[bool]):
    """Asks whether to do something; ``y`` does it."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "take(1)", "Yes")]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__(question, (Choice(yes, value=True), Choice("No, leave it as it is", value=False)))


class Ask(ModalScreen[str | None]):
    """Asks for a line of text; None where the reader leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Leave")]

    def __init__(self, question: str, hint: str, check: Callable[[str], str | None] = lambda _: None) -> None:
        """Ask.

        Args:
            hint: What may be typed, and what Enter does.
            check: What is wrong with a text; None for nothing.
        """
        super().__init__()
        self._question = question
        self._hint = hint
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(escaped(self._question)), classes="question")
            yield Input()
            yield Static(Text(escaped(f"{self._hint} Escape leaves it.")), classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text, or say what is wrong with it."""
        event.stop()
        if wrong := self._check(event.value):
            hint = self.query_one(".hint", Static)
            hint.update(Text(escaped(wrong)))
            hint.add_class("wrong")
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)


class Help(ModalScreen[None]):
    """Shows the keys, and what they do."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,enter", "leave", "Back")]

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        width = max(len(key) for key, _ in self._keys)
        lines = [Text.assemble((key.ljust(width), "bold"), "  ", does) for key, does in self._keys]
        with VerticalScroll(classes="dialog help") as around:
            around.border_subtitle = "Escape closes this."
            yield Static(Text("\n").join(lines))

    def action_leave(self) -> None:
        """Close it."""
        self.dismiss(None)
