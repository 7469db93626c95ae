"""``generate``: a language model's answer to a prompt, as it is written."""

import contextlib
import sys
import time

import click

from sklearn_ternary._config import config_context
from sklearn_ternary.cli._console import json_option, plain, print_json
from sklearn_ternary.cli._options import no_folder
from sklearn_ternary.cli._texts import MAX_BYTES, read_text


@click.command()
@click.option("-m", "--model", required=True, metavar="GGUF", help="Model to use.")
@click.option("-p", "--prompt", metavar="TEXT", help="Prompt, or - for stdin.")
@click.option("--chat", is_flag=True, help="A conversation, in the model's template.")
@click.option(
    "--system", metavar="TEXT", help="What a conversation begins with; needs --chat."
)
@click.option(
    "-n",
    "--max-tokens",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Most tokens of an answer.",
)
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    show_default=True,
    help="From 0 to 5; 0 takes the likeliest token.",
)
@click.option(
    "--top-k", type=int, default=0, help="Likeliest tokens to keep; 0 is all."
)
@click.option("--top-p", type=float, default=1.0, help="Probability to keep.")
@click.option("--min-p", type=float, default=0.0, help="Least share of the likeliest.")
@click.option(
    "--repetition-penalty", type=float, default=1.0, help="Above 1 against repetition."
)
@click.option("--stop", multiple=True, metavar="TEXT", help="Ends the answer; repeat.")
@click.option("--seed", type=click.IntRange(min=0), help="For the same text again.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use.")
@click.option("--context", type=click.IntRange(min=1), help="Most tokens of all.")
@click.option(
    "--strategy",
    type=click.Choice(["mmap", "preload", "lazy"]),
    default="mmap",
    show_default=True,
    help="When weights are made ready.",
)
@click.option(
    "--max-layers", type=click.IntRange(min=1), help="Layers that lazy keeps."
)
@click.option(
    "--activation",
    type=click.Choice(["silu", "relu2"]),
    help="Instead of what the file says.",
)
@click.option(
    "--i2-s-order",
    type=click.Choice(["x86", "arm"]),
    default="x86",
    show_default=True,
    help="Which machine wrote I2_S tensors.",
)
@click.option(
    "--draft",
    metavar="GGUF",
    help="Smaller model that guesses tokens, or ngram: earlier places in the text.",
)
@click.option(
    "--profile",
    metavar="FILE",
    envvar="SKLEARN_TERNARY_PROFILE",
    callback=no_folder,
    help="Write what the steps of the layers take, as the command profile does.",
)
@json_option
def generate(
    model,
    prompt,
    chat,
    system,
    max_tokens,
    seed,
    threads,
    context,
    strategy,
    max_layers,
    activation,
    i2_s_order,
    draft,
    profile,
    as_json,
    **sampling,
):
    """Write the answer of a language model to a prompt.

    The text appears as it is written; tokens per second of the prompt and of the
    answer follow on stderr. An interrupt ends the answer and keeps what there is.

    With --chat the prompt is what a user says. Without --prompt a conversation is held
    with the terminal, until its input ends.

    With --draft the model checks several guesses in one pass, and the text is written
    at the end; it is the same as without, or drawn from the same distribution.
    """
    if prompt is None and not chat:
        raise click.UsageError("--prompt is needed, or --chat for a conversation")
    if system is not None and not chat:
        raise click.UsageError("--system needs --chat")
    if chat and prompt is None and as_json:
        raise click.UsageError("--json needs --prompt")
    if draft is not None and prompt is None:
        raise click.UsageError("--draft needs --prompt")
    if max_layers is not None and strategy != "lazy":
        raise click.UsageError("--max-layers needs --strategy lazy")
    if prompt == "-":
        prompt = read_text(click.get_binary_stream("stdin"), "<stdin>")
    from sklearn_ternary.language import GenerationConfig, TernaryLM

    config = GenerationConfig(max_new_tokens=max_tokens, random_state=seed, **sampling)
    options = {} if threads is None else {"n_threads": threads}
    with config_context(**options), contextlib.ExitStack() as meanwhile:
        start = time.perf_counter()
        lm = TernaryLM.from_gguf(
            model,
            strategy=strategy,
            max_layers=max_layers,
            activation=activation,
            i2_s_order=i2_s_order,
            n_ctx=context,
            max_batch_size=1,
        )
        load_seconds = time.perf_counter() - start
        if profile is not None:
            meanwhile.enter_context(_profiled(lm.model, profile))
        messages = []
        if system is not None:
            messages.append({"role": "system", "content": system})
        if prompt is None:
            _converse(lm, config, messages)
            return
        if chat:
            prompt = lm.encode_chat([*messages, {"role": "user", "content": prompt}])
        if draft is None:
            stream = _write(lm.stream(prompt, config=config), as_json)
            done = stream.completion
            seconds = stream.prompt_seconds, stream.answer_seconds
        else:
            if draft != "ngram":
                draft = TernaryLM.from_gguf(draft, n_ctx=context, max_batch_size=1)
            start = time.perf_counter()
            done = lm.generate(prompt, config=config, draft=draft)
            seconds = None, time.perf_counter() - start
            if not as_json:
                click.echo(_shown(done.text))
        _report(model, done, load_seconds, seconds, as_json)


@contextlib.contextmanager
def _profiled(model, path):
    """Write the steps of what is computed meanwhile, to its end or an interrupt."""
    from sklearn_ternary.cli._trace import traced, write_trace

    if model.backend != "cpu":
        raise click.UsageError(f"backend {model.backend!r} measures no steps")
    with traced(model) as trace:
        yield
    write_trace(path, {"generate": trace})


def _write(stream, quiet):
    """Print a stream to its end or an interrupt; return it."""
    try:
        for text in stream:
            if not quiet:
                click.echo(_shown(text), nl=False)
                sys.stdout.flush()
    except KeyboardInterrupt:
        stream.close()
    if not quiet:
        click.echo()
    return stream


def _shown(text):
    """Text without what a terminal would obey, if it goes to one."""
    if not sys.stdout.isatty():
        return text
    return "\n".join(str(plain(line)) for line in text.split("\n"))


def _report(model, done, load_seconds, seconds, as_json):
    """Print what was done; seconds of prompt and answer, or None and those of both."""
    prompt_seconds, answer_seconds = seconds
    n_prompt = done.n_prompt_tokens - done.n_reused_tokens
    # The first comes with the prompt.
    n_answer = max(len(done.tokens) - (prompt_seconds is not None), 0)
    facts = {
        "model": model,
        "text": done.text,
        "tokens": done.tokens,
        "finish_reason": done.finish_reason,
        "load_seconds": load_seconds,
        "prompt_tokens": done.n_prompt_tokens,
        "reused_tokens": done.n_reused_tokens,
        "prompt_seconds": prompt_seconds,
        "prompt_tokens_per_second": _rate(n_prompt, prompt_seconds),
        "answer_tokens": len(done.tokens),
        "answer_seconds": answer_seconds,
        "answer_tokens_per_second": _rate(n_answer, answer_seconds),
    }
    if as_json:
        print_json(facts)
        return
    loaded = "" if model is None else f"load {load_seconds:.2f} s; "
    prompt_rate = _text(facts["prompt_tokens_per_second"])
    answer_rate = _text(facts["answer_tokens_per_second"])
    click.echo(
        f"{loaded}prompt {n_prompt} tokens, {prompt_rate}; "
        f"answer {len(done.tokens)} tokens, {answer_rate} ({done.finish_reason})",
        err=True,
    )


def _rate(n_tokens, seconds):
    return n_tokens / seconds if n_tokens and seconds else None


def _text(rate):
    return "- tok/s" if rate is None else f"{rate:.1f} tok/s"


def _converse(lm, config, messages):
    """Answer the lines of stdin until it ends."""
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            click.echo("> ", nl=False, err=True)
        line = click.get_text_stream("stdin").readline(MAX_BYTES)
        if not line:
            return
        if not line.strip():
            continue
        messages.append({"role": "user", "content": line.rstrip("\n")})
        stream = _write(lm.stream(lm.encode_chat(messages), config=config), False)
        done = stream.completion
        messages.append({"role": "assistant", "content": done.text})
        seconds = stream.prompt_seconds, stream.answer_seconds
        _report(None, done, 0.0, seconds, False)
