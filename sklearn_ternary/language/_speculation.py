"""Speculative decoding: cheap guesses, checked by the model in one pass.

A guess is accepted with probability min(1, p / q), where p is the model's and q the
guesser's probability of it, and what replaces the first refused guess is drawn from
the positive part of p - q. So the text is distributed as without guesses [1]_; with
greedy choice it is the same text.

References
----------
.. [1] Y. Leviathan, M. Kalman and Y. Matias, "Fast Inference from Transformers via
   Speculative Decoding", ICML 2023.
"""

from numbers import Integral

import numpy as np

from sklearn_ternary.language._sampling import Sampler, Workspace

_LONGEST, _SHORTEST = 4, 2  # tokens that an earlier place has to share


def speculate(lm, requests, draft, n_draft):
    """Run requests one after another, with guesses.

    Parameters
    ----------
    lm : TernaryLM
    requests : list of Request
    draft : TernaryLM or "ngram"
    n_draft : int
    """
    if not isinstance(n_draft, Integral) or not 1 <= n_draft <= 64:
        raise ValueError(f"n_draft={n_draft!r} must be an integer from 1 to 64")
    if isinstance(draft, str) and draft != "ngram":
        raise ValueError(f"draft={draft!r} must be 'ngram' or a TernaryLM")
    if not isinstance(draft, str):
        if not isinstance(draft, type(lm)):
            raise ValueError(
                f"draft is a {type(draft).__name__}; 'ngram' or a TernaryLM is required"
            )
        if draft is lm:
            raise ValueError("draft is the model itself")
        if draft.config.n_vocab != lm.config.n_vocab:
            raise ValueError(
                f"draft has {draft.config.n_vocab} tokens, and the model "
                f"{lm.config.n_vocab}"
            )
    n_draft = int(n_draft)
    for request in requests:
        guesser = _NGrams() if draft == "ngram" else _Smaller(draft, request, n_draft)
        try:
            _run(lm, request, guesser, n_draft)
        finally:
            guesser.close()


def _run(lm, request, guesser, n_draft):
    slots = lm._take_slots()
    slot, request.n_reused = slots.take(request.prompt)
    sampler = request.sampler
    rows = np.empty((n_draft + 1, lm.config.n_vocab), dtype=np.float32)
    try:
        new = request.prompt[request.n_reused :]
        logits = lm._prefill(slots, slot, new, rows[:1])
        request.add(sampler.draw(logits, request.tokens))
        while not request.finished:
            n = len(request.tokens)
            room = min(n_draft, request.config.max_new_tokens - request.n_new - 1)
            room = min(room, lm.n_ctx - n - 1)
            guesses = guesser.guess(request.tokens, room) if room > 0 else []
            part = request.tokens[-1:]
            part.extend(guesses)
            with slots.lock:
                lm.model.forward(
                    part, slots.cache, slot, all_logits=True, out=rows[: len(part)]
                )
                slots.extend(slot, part)
            _accept(request, guesses, guesser.probabilities, rows)
            # Of what the cache holds now, the last token was not computed yet.
            slots.cut(slot, min(len(request.tokens) - 1, n - 1 + len(part)))
    finally:
        request.cancel()
        slots.release(slot)


def _accept(request, guesses, probabilities, rows):
    """Add the guesses that the model agrees with, and one token of its own.

    `probabilities` are those that each guess was drawn with, or None if the guesser
    had no choice.
    """
    sampler = request.sampler
    for i, (token, row) in enumerate(zip(guesses, rows, strict=False)):
        if sampler.config.greedy:
            best = sampler.draw(row, request.tokens)
            request.add(best)
            if best != token or request.finished:
                return
            continue
        q = None if probabilities is None else probabilities[i]
        ids, p = sampler.distribution(row, request.tokens)
        at = int(ids.searchsorted(token))
        possible = at < len(ids) and ids[at] == token
        chance = sampler.chance() * (1 if q is None else q[token])
        if possible and chance < p[at]:
            request.add(token)
            if request.finished:
                return
            continue
        if q is not None:
            guessed = q.take(ids, out=sampler.workspace.sums[: len(p)], mode="clip")
            p -= guessed
            np.maximum(p, 0, out=p)
        elif possible:
            p[at] = 0
        if not p.any():
            # Rounding alone can leave nothing where p and q are the same.
            ids, p = sampler.distribution(row, request.tokens)
        request.add(sampler.pick(ids, p))
        return
    request.add(sampler.draw(rows[len(guesses)], request.tokens))


class _NGrams:
    """Guesses what followed the last tokens where they occurred before."""

    probabilities = None

    def guess(self, tokens, n):
        for size in range(_LONGEST, _SHORTEST - 1, -1):
            if len(tokens) <= size:
                continue
            at = _last_place(np.asarray(tokens), size)
            if at is not None:
                return tokens[at + size : at + size + n]
        return tokens[:0]

    def close(self):
        pass


def _last_place(tokens, size):
    """Where the last `size` tokens occurred last before, or None."""
    last = tokens[-size:]
    for start in np.flatnonzero(tokens[:-size] == last[0])[::-1]:
        if (tokens[start : start + size] == last).all():
            return int(start)
    return None


class _Smaller:
    """Guesses with a smaller model, drawn as the large one draws."""

    def __init__(self, lm, request, n_draft):
        self._lm = lm
        self._slots = lm._take_slots()
        config = request.config
        if config.random_state is not None:
            # Not the numbers that the large model draws with.
            config = config.changed(random_state=config.random_state + 1)
        workspace = Workspace(lm.config.n_vocab, lm.model.backend)
        self._sampler = Sampler(config, workspace)
        self._logits = np.empty((1, lm.config.n_vocab), dtype=np.float32)
        self.probabilities = np.empty((n_draft, lm.config.n_vocab))
        self._slot, self._done = self._slots.take(request.prompt)
        self._known = request.prompt[:]  # with the guesses
        self._n_certain = len(self._known)

    def guess(self, tokens, n):
        lm, slots = self._lm, self._slots
        n = min(n, lm.n_ctx - len(tokens))
        if n < 1:
            return tokens[:0]
        known = self._known
        self._forget_refused(tokens)
        for q in self.probabilities[:n]:
            new = known[self._done :]
            logits = lm._prefill(slots, self._slot, new, self._logits)
            self._done = len(known)
            ids, p = self._sampler.distribution(logits, known)
            q[:] = 0
            q[ids] = p
            known.append(self._sampler.pick(ids, p))
        return known[len(tokens) :]

    def _forget_refused(self, tokens):
        """Take over the tokens of the text, and keep the cache as far as it agrees."""
        known, n = self._known, self._n_certain
        while n < min(len(known), len(tokens)) and known[n] == tokens[n]:
            n += 1
        del known[n:]
        known.extend(tokens[n:])
        self._n_certain = len(known)
        done = min(self._done, n, len(tokens) - 1)
        self._done = self._slots.cut(self._slot, done)

    def close(self):
        self._slots.release(self._slot)
