"""The tables: measurements as text, one function for each."""

from result_tables.backends import backends, crossovers, gpu
from result_tables.clustering import (
    kmeans,
    kmeans_balanced,
    kmeans_batches,
    kmeans_grid,
    kmeans_int8,
    kmeans_memory,
    kmeans_memory_training,
    kmeans_rows,
    kmeans_threads,
)
from result_tables.language import language, language_loading
from result_tables.products import compression, one_sample, products
from result_tables.quantization import layouts, quantize, quantize_all, unpack
from result_tables.targets import TABLES as TARGETS
from result_tables.training import (
    training,
    training_fits,
    training_gradients,
    training_regret,
    training_speed,
)
from result_tables.training_studies import (
    training_clusters,
    training_line_search,
    training_recipes,
    training_schedules,
    training_success,
)

TABLES = {
    "layouts": layouts,
    "quantize": quantize,
    "quantize_all": quantize_all,
    "unpack": unpack,
    "backends": backends,
    "crossovers": crossovers,
    "gpu": gpu,
    "compression": compression,
    "kmeans": kmeans,
    "kmeans_int8": kmeans_int8,
    "kmeans_rows": kmeans_rows,
    "kmeans_grid": kmeans_grid,
    "kmeans_threads": kmeans_threads,
    "kmeans_batches": kmeans_batches,
    "kmeans_balanced": kmeans_balanced,
    "kmeans_memory": kmeans_memory,
    "kmeans_memory_training": kmeans_memory_training,
    "language": language,
    "language_loading": language_loading,
    "one_sample": one_sample,
    "products": products,
    "training": training,
    "training_clusters": training_clusters,
    "training_fits": training_fits,
    "training_line_search": training_line_search,
    "training_recipes": training_recipes,
    "training_regret": training_regret,
    "training_schedules": training_schedules,
    "training_speed": training_speed,
    "training_success": training_success,
    "training_gradients": training_gradients,
    **TARGETS,
}
