//! Gemma 3 from 4B on, which is for text and images: its text model, inside of a model that embeds for it and makes its
//! masks. It is served for text alone.

use super::{GEMMA_CALLS, Result, gemma3_text, sources};
use crate::config::Config;
use crate::family::{Absent, Around, Blueprint, Calls, Family, Form, Returns, Sources, Whole};

pub const FAMILY: Family = Family {
    model_type: "gemma3",
    whole: Some(Whole {
        key: "text_config",
        config_class: "Gemma3Config",
        defaults: r#"{
            "mm_tokens_per_image": 256, "boi_token_index": 255999, "eoi_token_index": 256000,
            "image_token_index": 262144, "initializer_range": 0.02, "tie_word_embeddings": true
        }"#,
        aliases: &[
            ("image_token_id", "image_token_index"),
            ("boi_token_id", "boi_token_index"),
            ("eoi_token_id", "eoi_token_index"),
        ],
        others: &[("vision_config", "SiglipVisionConfig")],
    }),
    blueprint,
    ..gemma3_text::FAMILY
};

/// The text model is handed embeddings and masks, and no ids.
const CALLS: Calls = Calls {
    base: Form {
        positional: &[],
        keyword: &["attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache", "return_dict"],
        signature: GEMMA_CALLS.base.signature,
    },
    layer: GEMMA_CALLS.layer,
    attention: GEMMA_CALLS.attention,
};

const AROUND: Form = Form {
    positional: &[],
    keyword: &[
        "input_ids",
        "pixel_values",
        "token_type_ids",
        "attention_mask",
        "position_ids",
        "past_key_values",
        "inputs_embeds",
        "use_cache",
        "labels",
        "mm_encoder_outputs",
        "return_dict",
    ],
    signature: &[
        "input_ids",
        "pixel_values",
        "attention_mask",
        "position_ids",
        "past_key_values",
        "token_type_ids",
        "inputs_embeds",
        "labels",
        "use_cache",
        "mm_encoder_outputs",
    ],
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let mut blueprint = (gemma3_text::FAMILY.blueprint)(config)?;
    let root = &mut blueprint.root;
    root.class = "Gemma3ForConditionalGeneration".into();
    root.base.0 = "language_model";
    root.returns = Returns::Images;
    let image = config.whole_size("image_token_index")?;
    let replaced = image >= config.size("vocab_size")?;
    root.around = Some(Around {
        name: "model",
        class: "Gemma3Model",
        returns: "transformers.models.gemma3.modeling_gemma3.Gemma3ModelOutputWithPast",
        call: &AROUND,
        image: replaced.then_some(image),
        older_names: &[("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")],
    });
    let absent =
        |path: &str| Absent { path: path.into(), why: "it is for images, and Gemma 3 is served for text alone" };
    root.absent = ["model.vision_tower", "model.multi_modal_projector"].map(absent).into();
    // The head is the whole model's own, which caps no logits.
    blueprint.head.cap = None;
    blueprint.head.tied = config.whole_flag("tie_word_embeddings")?;
    // What is around makes masks that are causal, but of those that hide nothing none.
    blueprint.sight.overlaid = false;
    blueprint.calls = &CALLS;
    blueprint.sources = Sources {
        root: sources::GEMMA3_WHOLE,
        around: if replaced { sources::GEMMA3_AROUND_REPLACING } else { sources::GEMMA3_AROUND },
        base: sources::GEMMA3_INNER,
    };
    Ok(blueprint)
}
