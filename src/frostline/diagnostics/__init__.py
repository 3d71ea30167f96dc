"""What becomes of every weight of a model, and why.

- What users call: `audit`, `why`, `explain`, `intermediates`, `what_if` and `gradient_check`; `fit` calls
  `preflight` before it trains.
- What these look at: `inspection` is all that is known of a model, with what is to train
  (`planned_training`), the loss (`model_loss`, or `custom_step` of a training step written by hand) and the
  model as it comes back from its configuration (`config_round_trip`). `layer_outputs` and `output_probes`
  find the gradient at the outputs of layers.
- What these answer with: `finding`, and `explanation`, made by `diagnosis` and worded by `remedies`.
- `rule` says what a rule is; the rules themselves stand in `rules`.
"""
