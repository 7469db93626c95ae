"""Language models."""

from result_tables._parts import NO_BREAK, Table, conditions, duration, results


def language():
    """Language models beside llama.cpp and ik_llama.cpp."""
    header = ("weights", "", "threads", "tokens/s", "llama.cpp", "ratio")
    header += ("ik_llama.cpp", "ratio", "of limit")
    rows = []
    for shape, name in _LANGUAGE_MODELS.items():
        data = results(f"language_{shape}")
        for row in data["results"]:
            limit = row.get("of_peak", row.get("of_memory"))
            rows.append(
                (
                    name,
                    _LANGUAGE_ROWS[row["what"]].format(n=row["n"]),
                    str(row["n_threads"]),
                    f"{row['ours']:.0f}",
                    *_beside(row, "llama"),
                    *_beside(row, "ik"),
                    "" if limit is None else f"{limit:.0%}",
                )
            )
    limits = data["limits"]
    caption = conditions(
        data,
        "Random weights, TQ2_0 with a Q6_K embedding that is also the output matrix, "
        "the same file in both; each side in a process of its own, in turns, the "
        "shortest of the rounds; sampling left out. ik_llama.cpp has the same weights "
        "as IQ2_BN, repacked (– where it was not measured). The last column is the "
        "share of the multiply-adds of bytes that vectors can do "
        f"({limits['int8_peak'] / 1e9:.0f} GOP/s a thread; the tile unit does more) "
        "for prompts, and of the rate at which the weights, at 1.6 bits, can come from "
        f"memory ({limits['memory 1'] / 1e9:.0f} GB/s) for single tokens; a small "
        "model stays in the caches in part.",
    )
    return Table(header, rows, caption, words=(0, 1))


def _beside(row, peer):
    """The rate of a peer, and what ours is of it."""
    if peer not in row:
        return "–", ""
    return f"{row[peer]:.0f}", f"{row['ours'] / row[peer]:.1f}×"


def language_loading():
    """From opening a model to its first token, and memory."""
    header = ("weights", "prompt of", "threads", "first token", "llama.cpp")
    header += ("memory", "llama.cpp")
    rows = []
    for shape, name in _LANGUAGE_MODELS.items():
        data = results(f"language_{shape}")
        found = {
            (row["side"], row.get("n", 1), row["n_threads"]): row
            for row in data["loads"]
            if "first_token" in row
        }
        for n, n_threads in sorted({key[1:] for key in found}):
            ours, llama = (found[side, n, n_threads] for side in ("ours", "llama"))
            rows.append(
                (
                    name,
                    str(n),
                    str(n_threads),
                    duration(ours["first_token"]),
                    duration(llama["first_token"]),
                    *(
                        f"{x['resident'] / 2**20:.0f}{NO_BREAK}MiB"
                        for x in (ours, llama)
                    ),
                )
            )
    caption = conditions(
        data,
        "The file is in the cache of the system; libraries are loaded before. Memory "
        "is what the process holds more after the first token, mapped pages of the "
        "file included. llama.cpp computes with the mapped file, as prompts of up to "
        "32 tokens do here; the matrices are laid out anew during the next passes.",
    )
    return Table(header, rows, caption)


_LANGUAGE_MODELS = {
    "small": "135 M ternary, 33 M embedding",
    "2b4t": "2.1 G ternary, 328 M embedding",
}


_LANGUAGE_ROWS = {
    "prompt": "prompt of {n}",
    "generate": "{n} tokens, one by one",
    "generate_8": "{n} tokens, 8 sequences",
}
