"""Language models of ternary weights: tokenizers, models, text generation."""

from sklearn_ternary._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Batch": "_batch",
        "ByteTokenizer": "_tokenizer",
        "Completion": "_request",
        "ConvertedTensor": "_convert",
        "GenerationConfig": "_generation_config",
        "KVCache": "_kv_cache",
        "LanguageConfig": "_config",
        "MemoryEstimate": "_memory",
        "Model": "_model",
        "Score": "_score",
        "TernaryLM": "_engine",
        "TextEmbedder": "_embedder",
        "TextStream": "_stream",
        "Tokenizer": "_tokenizer",
        "convert_model": "_convert",
        "estimate_memory": "_memory",
        "load_tokenizer": "_tokenizer",
    },
)
