"""One answer while it is written: its tokens, its text, and when it ends."""

from array import array
from dataclasses import dataclass

from sklearn_ternary.language._sampling import Sampler


@dataclass(frozen=True)
class Completion:
    """What a model has written after one prompt.

    Attributes
    ----------
    text : str
        The answer, without the prompt and without what has stopped it.
    tokens : list of int
        The tokens of the answer, with the one that has ended it.
    finish_reason : {"end", "stop", "length", "cancelled"}
        A token that ends answers, a stop text, `max_new_tokens` or a full context,
        or an interruption.
    n_prompt_tokens : int
    n_reused_tokens : int
        Of the prompt, that were in the cache from an earlier one.

    Examples
    --------
    >>> from sklearn_ternary.language import Completion
    >>> str(Completion("Paris.", [12366, 13], "length", 6, 0))
    'Paris.'
    """

    text: str
    tokens: list
    finish_reason: str
    n_prompt_tokens: int
    n_reused_tokens: int

    def __str__(self):
        return self.text


class Request:
    """A prompt and its answer so far.

    Parameters
    ----------
    prompt : list of int
    config : GenerationConfig
    tokenizer : Tokenizer or None
    room : int
        Tokens that prompt and answer can have together.
    workspace : Workspace

    Attributes
    ----------
    tokens : array of int64
        Of the prompt and the answer.
    """

    def __init__(self, prompt, config, tokenizer, room, workspace):
        self.prompt = array("q", prompt)
        self.config = config
        self.tokens = array("q", prompt)
        self.sampler = Sampler(config, workspace)
        self.finish_reason = None
        self.n_reused = 0
        self._left = min(config.max_new_tokens, room - len(prompt))
        self._ends = frozenset()
        self._decoder = None
        if tokenizer is not None:
            self._decoder = tokenizer.stream_decoder()
            if not config.ignore_end:
                self._ends = tokenizer.end_ids
        self._shown = []
        self._held = ""  # the beginning, perhaps, of a stop text

    @property
    def finished(self):
        """Whether no more tokens are wanted."""
        return self.finish_reason is not None

    @property
    def n_new(self):
        """Tokens of the answer."""
        return len(self.tokens) - len(self.prompt)

    def add(self, token):
        """Append a token; return the text that is certain by now."""
        self.tokens.append(token)
        self._left -= 1
        if token in self._ends:
            return self._finish("end")
        if self._decoder is not None:
            text = self._push(self._decoder.push(token))
            if self.finished:
                return text
        else:
            text = ""
        if self._left <= 0:
            return text + self._finish("length")
        return text

    def cancel(self):
        """End the answer here; return the text that was held back."""
        return "" if self.finished else self._finish("cancelled")

    def completion(self):
        """Return the answer."""
        return Completion(
            "".join(self._shown),
            self.tokens[len(self.prompt) :].tolist(),
            self.finish_reason,
            len(self.prompt),
            self.n_reused,
        )

    def _push(self, text):
        stop = self.config.stop
        text = self._held + text
        found = min((i for i in (text.find(s) for s in stop) if i >= 0), default=-1)
        if found >= 0:
            self._held = ""
            self.finish_reason = "stop"
            return self._show(text[:found])
        held = max((_overlap(text, s) for s in stop), default=0)
        self._held = text[len(text) - held :]
        return self._show(text[: len(text) - held])

    def _finish(self, reason):
        text = self._held
        if self._decoder is not None:
            text = self._held + self._decoder.finish()
        self._held = ""
        self.finish_reason = reason
        found = min(
            (i for i in (text.find(s) for s in self.config.stop) if i >= 0),
            default=len(text),
        )
        return self._show(text[:found])

    def _show(self, text):
        if text:
            self._shown.append(text)
        return text


def _overlap(text, stop):
    """Length of the longest end of `text` that begins `stop`, and is not all of it."""
    for n in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
