from .fit import TrainResult, read_log, score_split
from .label_evidence import collect_evidence
from .loader import EpochPlan, Layout, SampleBatch, SampleCache, plan_epoch
from .lr_finder import draw_rates, suggest, try_rates
from .setup import TrainJob, TrainState, check_job

__all__ = [
    "EpochPlan",
    "Layout",
    "SampleBatch",
    "SampleCache",
    "TrainJob",
    "TrainResult",
    "TrainState",
    "check_job",
    "collect_evidence",
    "draw_rates",
    "plan_epoch",
    "read_log",
    "score_split",
    "suggest",
    "try_rates",
]
