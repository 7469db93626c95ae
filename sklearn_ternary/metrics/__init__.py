"""How much quantization changes an array, and how much memory a model takes."""

from sklearn_ternary._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MemoryReport": "_memory_report",
        "QuantizationReport": "_quantization_report",
        "memory_report": "_memory_report",
        "peak_memory": "_memory_report",
        "quantization_report": "_quantization_report",
    },
)
