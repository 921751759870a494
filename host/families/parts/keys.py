# SPDX-License-Identifier: Apache-2.0
"""Keys of configs that a family does not read: which of them say nothing, and which change what a model computes."""

from __future__ import annotations

from typing import Any

from host.errors import SourceError
from host.files.fields import Fields
from host.foreign import words

CHANGES: dict[str, tuple[Any, ...]] = {
    "_remove_final_layer_norm": (False,),
    "_sliding_window_pattern": (),
    "add_cross_attention": (False,),
    "alibi": (False,),
    "attention_bias": (False, True),
    "attention_multiplier": (),
    "attn_logit_softcapping": (),
    "bias": (False, True),
    "clip_qkv": (),
    "cross_layer_attention": (False,),
    "do_layer_norm_before": (True,),
    "embedding_multiplier": (1,),
    "enable_bias": (False, True),
    "final_logit_softcapping": (),
    "full_attn_mod": (1,),
    "global_attn_every_n_layers": (1,),
    "global_rope_theta": (),
    "hidden_activation": (),
    "interpolate_factor": (1,),
    "is_causal": (True,),
    "is_encoder_decoder": (False,),
    "layer_norm_elementwise_affine": (True,),
    "layer_types": (),
    "lm_head_bias": (False,),
    "local_attention": (),
    "local_rope_theta": (),
    "logits_scaling": (1,),
    "mlp_bias": (False, True),
    "multi_query": (False,),
    "no_rope_layer_interval": (),
    "no_rope_layers": (),
    "norm_bias": (False, True),
    "num_experts": (0, 1),
    "num_kv_heads": (),
    "num_ln_in_parallel_attn": (),
    "num_local_experts": (0, 1),
    "parallel_attn": (False,),
    "partial_rotary_factor": (1,),
    "position_embedding_type": ("absolute",),
    "qk_layernorm": (False,),
    "query_pre_attn_scalar": (),
    "residual_multiplier": (1,),
    "rope_interleaved": (False,),
    "rope_local_base_freq": (),
    "rotary_emb_base": (),
    "rotary_pct": (1,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "scale_attn_weights": (True,),
    "sliding_window": (0,),
    "sliding_window_pattern": (),
    "type_vocab_size": (1,),
    "use_bias": (False, True),
    "use_bidirectional_attention": (False,),
    "use_mrope": (False,),
    "use_parallel_residual": (False,),
    "use_qk_norm": (False,),
    "use_qkv_bias": (False, True),
    "use_sliding_window": (False,),
    "word_embed_proj_dim": (),
}
"""By key, the values with which a family that does not read it computes the same as without it (null is one always).

A bias is said by its tensor as well: a file that has one where the family has none holds tensors too many.
"""
SILENT = {
    *("attention_dropout", "attn_pdrop", "chunk_size_feed_forward", "classifier_dropout", "embd_pdrop"),
    *("gradient_checkpointing", "hidden_dropout", "initializer_range", "mlp_dropout", "resid_pdrop"),
    *("attention_probs_dropout_prob", "cls_token_id", "deterministic_flash_attn", "hidden_dropout_prob"),
    *("initializer_cutoff_factor", "qa_dropout", "seq_classif_dropout", "sparse_pred_ignore_index"),
    *("classifier_activation", "classifier_bias", "classifier_pooling", "decoder_bias", "num_labels"),
    *("reference_compile", "sinusoidal_pos_embds", "sparse_prediction"),
    *("dropout", "embedding_dropout", "init_std", "layerdrop", "residual_dropout"),
    *("add_bos_token", "add_eos_token", "bos_token", "bos_token_id", "decoder_start_token_id", "eos_token"),
    *("eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "max_length", "min_length", "n_ctx", "n_special"),
    *("pad_token", "pad_token_id", "predict_special_tokens", "prefix", "sep_token_id", "tokenizer_class"),
    *("unk_token", "unk_token_id", "vocab_size"),
    *("_attn_implementation_autoset", "_name_or_path", "architectures", "auto_map", "dtype", "head_dtype"),
    *("finetuning_task", "id2label", "is_decoder", "is_llama_config", "keys_to_ignore_at_inference", "label2id"),
    *("max_window_layers", "model_type", "output_attentions", "output_hidden_states", "output_scores"),
    *("pretraining_tp", "problem_type", "pruned_heads", "quantization_config", "reorder_and_upcast_attn"),
    *("return_dict", "return_dict_in_generate", "summary_activation", "summary_first_dropout"),
    *("summary_proj_to_labels", "summary_type", "summary_use_proj", "task_specific_params", "tie_encoder_decoder"),
    *("_num_labels", "bad_words_ids", "begin_suppress_tokens", "cache_implementation", "diversity_penalty"),
    *("do_sample", "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_logits_to_keep"),
    *("num_return_sequences", "output_past", "remove_invalid_values", "repetition_penalty", "suppress_tokens"),
    *("temperature", "tf_legacy_loss", "top_k", "top_p", "typical_p", "use_bfloat16"),
    *("torch_dtype", "torchscript", "transformers.js_config", "transformers_version", "unsloth_fixed"),
    *("unsloth_version", "use_cache"),
}
"""Keys about training, text and programs."""


def _neutral(key: str, value: Any) -> bool:
    """Whether a model is the same without this key."""
    if key == "layer_types" and isinstance(value, list):
        return all(each == "full_attention" for each in value)
    return value in CHANGES[key]


def check_rest(fields: Fields, family: str) -> list[str]:
    """What to tell of keys that nobody read. SourceError names one that changes what the model computes."""
    rest = {key: value for key, value in fields.values.items() if key not in fields.read and value is not None}
    for key, value in rest.items():
        if key in CHANGES and not _neutral(key, value):
            raise SourceError(
                f"{fields.where}: {fields.name(key)} is {words(value)}, which changes what a model computes and is not "
                f"supported for {family}; the answers would be wrong, so it is refused"
            )
    unknown = sorted(key for key in rest if key not in CHANGES and key not in SILENT)
    if not unknown:
        return []
    listed = ", ".join(words(key, 40) for key in unknown[:6]) + (", ..." if len(unknown) > 6 else "")
    return [f"{fields.where}: {listed} are not known here and taken to say nothing about what the model computes"]
