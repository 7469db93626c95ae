"""Networks with ternary weights."""

from sklearn_ternary._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AuxiliaryStepPredictor": "_auxiliary",
        "ConstrainedTrainer": "_constrained_trainer",
        "controller_regret": "_regret",
        "project_l2_ball": "_projection",
    },
)
