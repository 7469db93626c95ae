"""An answer piece by piece."""

import threading
import time

import numpy as np

_ENDED = object()


class TextStream:
    """An answer while it is written; made by :meth:`TernaryLM.stream`.

    It is an iterator, for ``for`` and, with a thread for each token, for ``async
    for``. Closing it, as leaving a ``with`` or ``async with`` block does, ends the
    answer within a token.

    Parameters
    ----------
    lm : TernaryLM
    request : Request
        The prompt and how to answer it.
    buffer_size : int, default=1
        Tokens whose text is gathered to a piece.
    flush_interval : float, default=None
        Seconds after which a token ends its piece anyway; None waits.
    token_timeout : float, default=None
        Seconds to wait for a place in the cache, and that a token after the first
        may take; None is any.

    Attributes
    ----------
    completion : Completion or None
        Once the answer has ended.
    prompt_seconds, answer_seconds : float
        Time taken for the prompt, with the first token of the answer, and for the
        rest.

    Examples
    --------
    >>> def tell(lm, prompt):
    ...     with lm.stream(prompt, 100) as stream:
    ...         for text in stream:
    ...             print(text, end="", flush=True)
    ...     return stream.completion.finish_reason
    >>> async def tell_without_blocking(lm, prompt):
    ...     async with lm.stream(prompt, 100) as stream:
    ...         async for text in stream:
    ...             print(text, end="", flush=True)
    """

    def __init__(
        self, lm, request, *, buffer_size=1, flush_interval=None, token_timeout=None
    ):
        self._request = request
        self.prompt_seconds = self.answer_seconds = 0.0
        self._buffer_size = buffer_size
        self._flush_interval = flush_interval
        self._timeout = token_timeout
        self._lock = threading.RLock()  # closing waits for the token under way
        self._pieces = self._gathered(self._texts(lm, request))

    def _texts(self, lm, request):
        """The text of each token."""
        slots = lm._take_slots()
        slot, request.n_reused = slots.take(request.prompt, self._timeout)
        row = np.empty((1, lm.config.n_vocab), dtype=np.float32)  # for every token
        try:
            start = time.perf_counter()
            new = request.prompt[request.n_reused :]
            logits = lm._prefill(slots, slot, new, row)
            text = request.add(request.sampler.draw(logits, request.tokens))
            self.prompt_seconds = time.perf_counter() - start
            while True:
                yield text
                if request.finished:
                    return
                start = time.perf_counter()
                last = request.tokens[-1:]
                with slots.lock:
                    lm.model.forward(last, slots.cache, slot, out=row)
                    slots.extend(slot, last)
                text = request.add(request.sampler.draw(row[0], request.tokens))
                seconds = time.perf_counter() - start
                self.answer_seconds += seconds
                if self._timeout is not None and seconds > self._timeout:
                    raise TimeoutError(
                        f"a token took {seconds:.3g} s, above token_timeout="
                        f"{self._timeout}"
                    )
        finally:
            request.cancel()
            slots.release(slot)

    def _gathered(self, texts):
        """Pieces of as many tokens as wanted, and what is left at the end."""
        held, n, since = "", 0, time.perf_counter()
        try:
            for text in texts:
                held, n = held + text, n + 1
                late = (
                    self._flush_interval is not None
                    and time.perf_counter() - since >= self._flush_interval
                )
                if held and (n >= self._buffer_size or late):
                    yield held
                    held, n, since = "", 0, time.perf_counter()
            if held:
                yield held
        finally:
            texts.close()

    @property
    def completion(self):
        """The answer, once it has ended; None before."""
        return self._request.completion() if self._request.finished else None

    def __iter__(self):
        return self

    def __next__(self):
        with self._lock:
            return next(self._pieces)

    def close(self):
        """End the answer and free its place in the cache."""
        with self._lock:
            self._pieces.close()
            self._request.cancel()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __aiter__(self):
        return self

    async def __anext__(self):
        piece = await _in_thread(self._next_or_ended)
        if piece is _ENDED:
            raise StopAsyncIteration
        return piece

    def _next_or_ended(self):
        # StopIteration cannot leave a coroutine.
        try:
            return next(self)
        except StopIteration:
            return _ENDED

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await _in_thread(self.close)


async def _in_thread(function):
    import asyncio  # most programs do without, and it takes long to import

    return await asyncio.to_thread(function)
