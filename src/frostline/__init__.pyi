from . import callbacks as callbacks
from . import layers as layers
from ._version import __version__ as __version__
from .delta.change import LoadedDelta as LoadedDelta
from .delta.contents import Delta as Delta
from .delta.load import (
    deltas as deltas,
)
from .delta.load import (
    load_delta as load_delta,
)
from .delta.load import (
    remove_delta as remove_delta,
)
from .delta.peft import (
    export_peft as export_peft,
)
from .delta.peft import (
    import_peft as import_peft,
)
from .delta.save import save_delta as save_delta
from .diagnostics.audit import (
    Audit as Audit,
)
from .diagnostics.audit import (
    audit as audit,
)
from .diagnostics.explain import explain as explain
from .diagnostics.explanation import (
    Explanation as Explanation,
)
from .diagnostics.explanation import (
    Explanations as Explanations,
)
from .diagnostics.finding import Finding as Finding
from .diagnostics.gradient_check import (
    GradientCheck as GradientCheck,
)
from .diagnostics.gradient_check import (
    check_gradients as check_gradients,
)
from .diagnostics.intermediates import (
    Intermediates as Intermediates,
)
from .diagnostics.intermediates import (
    intermediates as intermediates,
)
from .diagnostics.what_if import (
    WhatIf as WhatIf,
)
from .diagnostics.what_if import (
    what_if as what_if,
)
from .diagnostics.why import why as why
from .diagnostics.why import why_all as why_all
from .errors import FrostlineError as FrostlineError
from .initializers import recommended_initializer as recommended_initializer
from .model.inventory import (
    Inventory as Inventory,
)
from .model.inventory import (
    Weight as Weight,
)
from .model.inventory import (
    inventory as inventory,
)
from .parametrization.adapters import (
    LowRank as LowRank,
)
from .parametrization.adapters import (
    Scale as Scale,
)
from .parametrization.base import Parametrization as Parametrization
from .parametrization.install import (
    Parametrized as Parametrized,
)
from .parametrization.install import (
    parametrize as parametrize,
)
from .parametrization.selections import (
    Columns as Columns,
)
from .parametrization.selections import (
    Index as Index,
)
from .parametrization.selections import (
    Mask as Mask,
)
from .parametrization.selections import (
    Rows as Rows,
)
from .plan.phase import Phase as Phase
from .plan.phase import Plateau as Plateau
from .plan.plan import (
    Plan as Plan,
)
from .plan.presets import (
    bitfit as bitfit,
)
from .plan.presets import (
    discriminative as discriminative,
)
from .plan.presets import (
    gradual_unfreezing as gradual_unfreezing,
)
from .plan.presets import (
    last_blocks as last_blocks,
)
from .plan.presets import (
    layerwise_lr_decay as layerwise_lr_decay,
)
from .plan.presets import (
    linear_probe as linear_probe,
)
from .plan.presets import (
    lora as lora,
)
from .plan.presets import (
    lp_ft as lp_ft,
)
from .plan.rule import Rule as Rule
from .plan.schedule import (
    Schedule as Schedule,
)
from .plan.schema import plan_schema as plan_schema
from .plan.selectors import (
    Selector as Selector,
)
from .plan.selectors import (
    selector as selector,
)
from .resolution.decision import Decision as Decision
from .resolution.resolution import Resolution as Resolution
from .resolution.resolve import (
    resolve as resolve,
)
from .runs.schema import run_schema as run_schema
from .saving.model_file import (
    load_model as load_model,
)
from .saving.model_file import (
    save_model as save_model,
)
from .surgery.grow import grow_embedding as grow_embedding
from .trainability.apply import (
    Applied as Applied,
)
from .trainability.apply import (
    applied as applied,
)
from .trainability.apply import (
    apply as apply,
)
from .trainability.merge import merge as merge
from .training.custom_loop import optimizer_for as optimizer_for
from .training.fit import fit as fit
from .training.run import Run as Run
from .verification.fingerprint import (
    Fingerprint as Fingerprint,
)
from .verification.fingerprint import (
    fingerprint as fingerprint,
)
from .verification.outcomes import Verification as Verification
from .verification.receipt import Receipt as Receipt
from .verification.verify import (
    verify as verify,
)
