"""Continuous batching: requests join and leave at any token."""

from collections import deque

import numpy as np

# Tokens of prompts that join, in one pass beside those of running answers.
PROMPT_TOKENS = 256


class Batch:
    """Requests that are generated together, one token of each in a pass.

    Made by :meth:`TernaryLM.batch`. The weights are read once for all requests. A
    request that is submitted while others run joins at the next step, and its place
    is free for another as soon as it has ended. What each request writes does not
    depend on the others.

    Parameters
    ----------
    lm : TernaryLM

    Examples
    --------
    >>> def answers(lm, prompts):
    ...     with lm.batch() as batch:
    ...         numbers = [batch.add(prompt) for prompt in prompts]
    ...         while batch.active:
    ...             for number, text in batch.step():
    ...                 print(number, text)
    ...         return [batch.completion(number) for number in numbers]
    """

    def __init__(self, lm):
        self._lm = lm
        self._slots = lm._take_slots()
        self._workspace = None
        self._waiting = deque()
        self._running = []
        self._ids = {}
        self._done = {}
        self._next = 0
        self._logits = None

    @property
    def active(self):
        """Whether requests run or wait."""
        return bool(self._waiting or self._running)

    def add(self, prompt, max_new_tokens=None, config=None, **options):
        """Add a request.

        Parameters
        ----------
        prompt : str or sequence of int
        max_new_tokens : int, default=None
        config : GenerationConfig, default=None
        **options
            As for :meth:`TernaryLM.generate`.

        Returns
        -------
        number : int
            By which :meth:`step`, :meth:`cancel` and :meth:`completion` call it.
        """
        (request,) = self._lm._requests(
            [("prompt", prompt)], config, options | {"max_new_tokens": max_new_tokens}
        )
        return self._submit(request)

    def _submit(self, request):
        """Add a Request; return its number."""
        number, self._next = self._next, self._next + 1
        if self._workspace is None:
            self._workspace = request.sampler.workspace
        request.sampler.workspace = self._workspace
        self._ids[id(request)] = number
        self._waiting.append(request)
        return number

    def cancel(self, number):
        """End a request; its answer so far is its completion.

        Parameters
        ----------
        number : int
        """
        for running in self._running:
            if self._ids[id(running.request)] == number:
                running.request.cancel()
                self._leave(running)
                return
        for request in self._waiting:
            if self._ids[id(request)] == number:
                self._waiting.remove(request)
                request.cancel()
                self._finish(request)
                return

    def completion(self, number):
        """Return the answer of a request that has ended.

        Parameters
        ----------
        number : int

        Returns
        -------
        completion : Completion or None
            None while it runs or waits.
        """
        request = self._done.get(number)
        return None if request is None else request.completion()

    def step(self):
        """Compute one pass: a token for each running request.

        Returns
        -------
        pieces : list of (int, str)
            Number of a request and the text that it has written in this step.
        """
        self._join()
        if not self._running:
            return []
        slots, model = self._slots, self._lm.model
        tokens, sequences, parts, budget = [], [], [], PROMPT_TOKENS
        for running in self._running:
            part = running.next_part(budget)
            if len(part) > 1:
                budget = max(budget - len(part), 1)
            parts.append(part)
            tokens.extend(part)
            sequences.extend([running.slot] * len(part))
        with slots.lock:
            logits = self._rows(len(parts))
            at = np.array(sequences)
            model.forward(np.array(tokens), slots.cache, at, out=logits)
            for running, part in zip(self._running, parts, strict=True):
                slots.extend(running.slot, part)
        pieces = []
        for running, part, row in zip(list(self._running), parts, logits, strict=True):
            request = running.request
            running.n_done += len(part)
            if running.n_done < len(request.tokens):
                continue  # the prompt is not complete
            text = request.add(request.sampler.draw(row, request.tokens))
            if text:
                pieces.append((self._ids[id(request)], text))
            if request.finished:
                self._leave(running)
        return pieces

    def _rows(self, n):
        """Room for logits, the same in every step."""
        if self._logits is None:
            shape = (self._lm.max_batch_size, self._lm.config.n_vocab)
            self._logits = np.empty(shape, dtype=np.float32)
        return self._logits[:n]

    def _join(self):
        slots = self._slots
        while self._waiting and len(self._running) < self._lm.max_batch_size:
            prompt = self._waiting[0].prompt
            # Wait for other threads only if there is nothing else to do.
            taken = slots.take_if_free(prompt) if self._running else slots.take(prompt)
            if taken is None:
                return
            request = self._waiting.popleft()
            slot, request.n_reused = taken
            self._running.append(_Running(request, slot))

    def _leave(self, running):
        self._running.remove(running)
        self._slots.release(running.slot)
        self._finish(running.request)

    def _finish(self, request):
        self._done[self._ids.pop(id(request))] = request

    def close(self):
        """End all requests and free their places in the cache."""
        for running in list(self._running):
            running.request.cancel()
            self._leave(running)
        while self._waiting:
            request = self._waiting.popleft()
            request.cancel()
            self._finish(request)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class _Running:
    """A request, its sequence in the cache, and how many tokens are there."""

    def __init__(self, request, slot):
        self.request = request
        self.slot = slot
        self.n_done = request.n_reused

    def next_part(self, budget):
        """Return the tokens of the next pass: one, or a part of the prompt."""
        return self.request.tokens[self.n_done : self.n_done + max(budget, 1)]
